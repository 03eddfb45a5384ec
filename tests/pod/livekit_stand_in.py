"""A LiveKit for one test: it speaks the worker's websocket and the room service, in this process.

It keeps all that a worker says, has no opinion of its own, and can be ill in several ways. What it
does as livekit-server does (1.13.5): whom it lets in, the answer to a registration, the token of an
assignment. What it leaves to the test: whom it offers a job, full or not.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from typing import Self

from aiohttp import WSMsgType, web
from livekit import api
from livekit.protocol import agent, models
from livekit.protocol import room as rooms

API_KEY = "stand-in"
API_SECRET = "of the stand-in, " * 3
WITHIN_SECONDS = 5.0


class Changes:
    """Wakes whoever waits for a condition whenever something has happened. Belongs to one loop."""

    def __init__(self) -> None:
        self._happened = asyncio.Event()

    def tell(self) -> None:
        """Something has happened that somebody may wait for."""
        self._happened.set()

    async def next(self) -> None:
        """Return when something has happened."""
        self._happened.clear()
        await self._happened.wait()

    async def until(
        self, is_so: Callable[[], bool], *, because: str, within_seconds: float = WITHIN_SECONDS
    ) -> None:
        """Return when it is so; `because` is what the test fails with: what should be so."""
        try:
            async with asyncio.timeout(within_seconds):
                while not is_so():
                    await self.next()
        except TimeoutError:
            raise AssertionError(f"not within {within_seconds:g} s: {because}") from None


class Illness(Enum):
    """What the stand-in does to a worker that opens its websocket; only the last is felt by the
    room service as well.
    """

    REFUSES_WITH_401 = auto()
    REFUSES_WITH_503 = auto()
    CLOSES_AT_ONCE = auto()
    NEVER_REGISTERS = auto()
    HANGS = auto()


@dataclass(slots=True, eq=False)
class Worker:
    """One registration, and what came over its connection."""

    id: str
    registration: agent.RegisterWorkerRequest
    statuses: list[agent.UpdateWorkerStatus] = field(default_factory=list)
    is_connected: bool = True

    @property
    def agent_name(self) -> str:
        return self.registration.agent_name

    @property
    def permissions(self) -> models.ParticipantPermission:
        return self.registration.allowed_permissions

    @property
    def load(self) -> float:
        """As reported last; 0 before the first report."""
        return self.statuses[-1].load if self.statuses else 0.0

    @property
    def is_full(self) -> bool:
        return bool(self.statuses) and self.statuses[-1].status == agent.WS_FULL

    @property
    def job_count(self) -> int:
        return self.statuses[-1].job_count if self.statuses else 0


class Offer:
    """A job that a worker was asked to take. `answers` has every answer that it gave."""

    def __init__(self, stand_in: "LiveKitStandIn", worker: Worker, job: agent.Job) -> None:
        self._stand_in, self._worker, self.job = stand_in, worker, job
        self.answers: list[agent.AvailabilityResponse] = []

    async def answer(self, *, within_seconds: float = WITHIN_SECONDS) -> agent.AvailabilityResponse:
        """The first answer."""
        await self._stand_in.until(
            lambda: bool(self.answers),
            because=f"the worker answers the offer of {self.job.id}",
            within_seconds=within_seconds,
        )
        return self.answers[0]

    async def assign(self) -> None:
        """Give the job to the worker, which has said that it takes it."""
        grants = api.VideoGrants(room_join=True, room=self.job.room.name, agent=True)
        identity = self.answers[0].participant_identity
        token = api.AccessToken(API_KEY, API_SECRET).with_identity(identity).with_grants(grants)
        assignment = agent.JobAssignment(job=self.job, token=token.with_kind("agent").to_jwt())
        await self._stand_in.send(self._worker, agent.ServerMessage(assignment=assignment))


class LiveKitStandIn:
    """Begin with `running()`. Everything else may be called, and set, at any time while it runs."""

    api_key = API_KEY
    api_secret = API_SECRET

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        """Every registration, the latest last."""
        self.asked_at: list[float] = []
        """The loop's time of each request for the websocket, refused ones included."""
        self.offers: dict[str, Offer] = {}
        self.job_statuses: dict[str, list[agent.JobStatus]] = {}
        self.job_reports: list[list[str]] = []
        """The ids of each `migrate_job`: the jobs that a worker has brought along."""
        self.deleted_rooms: list[str] = []
        self.participants: dict[str, list[int]] = {}
        self.rooms_asked: list[str] = []
        self.removed_participants: list[tuple[str, str]] = []
        self.registration_delay_seconds = 0.0
        self._illness: Illness | None = None
        self._changes = Changes()
        self._numbers = count(1)
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._transports: set[asyncio.Transport] = set()
        self._sockets: dict[Worker, web.WebSocketResponse] = {}

    @property
    def url(self) -> str:
        """The same for as long as it lives, also while it is away."""
        return f"ws://127.0.0.1:{self._port}"

    @property
    def illness(self) -> Illness | None:
        return self._illness

    @illness.setter
    def illness(self, illness: Illness | None) -> None:
        self._illness = illness
        self._changes.tell()

    async def until(
        self, is_so: Callable[[], bool], *, because: str, within_seconds: float = WITHIN_SECONDS
    ) -> None:
        """Wait for what a worker's message, or a test's own, makes true."""
        await self._changes.until(is_so, because=because, within_seconds=within_seconds)

    async def registered(self, times: int = 1, *, within_seconds: float = WITHIN_SECONDS) -> Worker:
        """The worker that has registered as the n-th since the beginning."""
        await self.until(
            lambda: len(self.workers) >= times,
            because=f"a worker registers for time {times}",
            within_seconds=within_seconds,
        )
        return self.workers[times - 1]

    async def offer(
        self, *, room: str = "room", metadata: str = "", agent_name: str | None = None
    ) -> Offer:
        """Ask the worker that registered last, whatever load it has reported."""
        worker = next((w for w in reversed(self.workers) if w.is_connected), None)
        assert worker is not None, "no worker is registered, so there is nobody to offer a job"
        number = next(self._numbers)
        job = agent.Job(
            id=f"AJ_{number}",
            dispatch_id=f"AD_{number}",
            type=worker.registration.type,
            room=models.Room(
                sid=f"RM_{number}",
                name=room,
                num_participants=len(self.participants.get(room, ())),
            ),
            metadata=metadata,
            agent_name=worker.agent_name if agent_name is None else agent_name,
        )
        offer = self.offers[job.id] = Offer(self, worker, job)
        request = agent.AvailabilityRequest(job=job)
        await self.send(worker, agent.ServerMessage(availability=request))
        return offer

    async def place_call(self, *, room: str = "room") -> str:
        """An offer that is taken and assigned; the id of its job."""
        offer = await self.offer(room=room)
        answer = await offer.answer()
        assert answer.available, f"the worker has refused {offer.job.id}"
        await offer.assign()
        return offer.job.id

    def status_of(self, job_id: str) -> agent.JobStatus | None:
        """What the worker has said last of this job."""
        statuses = self.job_statuses.get(job_id)
        return statuses[-1] if statuses else None

    async def terminate(self, job_id: str) -> None:
        """End a job, as LiveKit does when its dispatch is deleted."""
        termination = agent.JobTermination(job_id=job_id)
        for worker in list(self._sockets):
            await self.send(worker, agent.ServerMessage(termination=termination))

    async def send(self, worker: Worker, message: agent.ServerMessage) -> None:
        """Any message at all."""
        await self._sockets[worker].send_bytes(message.SerializeToString())

    def drop_connections(self) -> None:
        """Break every connection now, without a word."""
        for transport in self._transports:
            transport.abort()

    async def go_away(self) -> None:
        """Break every connection, and let none in until `come_back`."""
        runner, self._runner = self._runner, None
        if runner is not None:
            self.drop_connections()
            self._changes.tell()
            await runner.cleanup()

    async def come_back(self) -> None:
        """Listen again, at the same address."""
        app = web.Application(middlewares=[self._keep])
        app.router.add_get("/agent", self._agent)
        app.router.add_post("/twirp/livekit.RoomService/{method}", self._room_service)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._runner, self._port = runner, runner.addresses[0][1]

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator[Self]:
        """One that listens on a free port while the context lasts."""
        stand_in = cls()
        await stand_in.come_back()
        try:
            yield stand_in
        finally:
            await stand_in.go_away()

    @web.middleware
    async def _keep(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        self._transports.add(transport)
        try:
            return await handler(request)
        finally:
            self._transports.discard(transport)

    async def _agent(self, request: web.Request) -> web.StreamResponse:
        """The worker's websocket, as long as it is open."""
        self.asked_at.append(asyncio.get_running_loop().time())
        self._changes.tell()
        if self._illness is Illness.HANGS:
            return await self._hang(request)
        if self._illness is Illness.REFUSES_WITH_503:
            return web.Response(status=503)
        if self._illness is Illness.REFUSES_WITH_401 or not _is_signed(request):
            return web.Response(status=401, text="invalid authorization token")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if self._illness is Illness.CLOSES_AT_ONCE:
            await socket.close()
            return socket
        worker: Worker | None = None
        try:
            async for message in socket:
                if message.type is not WSMsgType.BINARY:
                    continue
                said = agent.WorkerMessage.FromString(message.data)
                if said.HasField("register"):
                    worker = await self._register(said.register, socket)
                elif worker is not None:
                    await self._hear(worker, said)
                self._changes.tell()
        finally:
            if worker is not None:
                worker.is_connected = False
                del self._sockets[worker]
            self._changes.tell()
        return socket

    async def _register(
        self, registration: agent.RegisterWorkerRequest, socket: web.WebSocketResponse
    ) -> Worker | None:
        if self._illness is Illness.NEVER_REGISTERS:
            return None
        await asyncio.sleep(self.registration_delay_seconds)
        worker = Worker(f"AW_{len(self.workers) + 1}", registration)
        answer = agent.RegisterWorkerResponse(
            worker_id=worker.id, server_info=models.ServerInfo(region="stand-in", protocol=16)
        )
        await socket.send_bytes(agent.ServerMessage(register=answer).SerializeToString())
        self._sockets[worker] = socket
        self.workers.append(worker)
        return worker

    async def _hear(self, worker: Worker, said: agent.WorkerMessage) -> None:
        match said.WhichOneof("message"):
            case "availability":
                self.offers[said.availability.job_id].answers.append(said.availability)
            case "update_worker":
                worker.statuses.append(said.update_worker)
            case "update_job":
                statuses = self.job_statuses.setdefault(said.update_job.job_id, [])
                statuses.append(said.update_job.status)
            case "migrate_job":
                self.job_reports.append(list(said.migrate_job.job_ids))
            case "ping":
                pong = agent.WorkerPong(last_timestamp=said.ping.timestamp)
                await self.send(worker, agent.ServerMessage(pong=pong))

    async def _room_service(self, request: web.Request) -> web.StreamResponse:
        if self._illness is Illness.HANGS:
            return await self._hang(request)
        if not _is_signed(request):
            refusal = {"code": "unauthenticated", "msg": "invalid authorization token"}
            return web.json_response(refusal, status=401)
        body = await request.read()
        match request.match_info["method"]:
            case "ListRooms":
                answer = rooms.ListRoomsResponse().SerializeToString()
            case "ListParticipants":
                room = rooms.ListParticipantsRequest.FromString(body).room
                self.rooms_asked.append(room)
                kinds = self.participants.get(room, [])
                there = [models.ParticipantInfo(kind=kind) for kind in kinds]  # type: ignore[arg-type]
                answer = rooms.ListParticipantsResponse(participants=there).SerializeToString()
            case "DeleteRoom":
                self.deleted_rooms.append(rooms.DeleteRoomRequest.FromString(body).room)
                answer = rooms.DeleteRoomResponse().SerializeToString()
            case "RemoveParticipant":
                who = rooms.RoomParticipantIdentity.FromString(body)
                self.removed_participants.append((who.room, who.identity))
                answer = rooms.RemoveParticipantResponse().SerializeToString()
            case method:
                unknown = {"code": "bad_route", "msg": f"the stand-in has no {method}"}
                return web.json_response(unknown, status=404)
        self._changes.tell()
        return web.Response(body=answer, content_type="application/protobuf")

    async def _hang(self, request: web.Request) -> web.StreamResponse:
        """Say nothing for as long as the illness lasts, and hang up then."""
        while self._illness is Illness.HANGS and self._runner is not None:
            await self._changes.next()
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=503)


def _is_signed(request: web.Request) -> bool:
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        api.TokenVerifier(API_KEY, API_SECRET).verify(token)
    except Exception:  # PyJWT's, and ValueError for what is no token at all
        return False
    return True

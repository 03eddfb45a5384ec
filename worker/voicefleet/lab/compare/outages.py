"""LiveKit away: restarted in the middle of calls, not there at the start, refusing to register."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from voicefleet.lab import livekit_server, processes, providers
from voicefleet.lab.changes import Changes
from voicefleet.lab.compare import calls
from voicefleet.lab.compare.calls import Dialled
from voicefleet.lab.compare.outcome import Drill, Figure, NotHeld, Outcome, Setting, Subject
from voicefleet.lab.compare.signals import ended
from voicefleet.lab.compare.stage import Address, Stage, World, exit_code, start_worker
from voicefleet.lab.livekit_server import API_KEY, HOST


@dataclass(slots=True)
class Refusing:
    """Where it is, and how often it was connected to."""

    url: str = ""
    connects: int = 0
    changes: Changes = field(default_factory=Changes)

    async def take(self, request: web.Request) -> web.WebSocketResponse:
        """A worker's connection: its registration is read, and the answer is a close."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connects += 1
        self.changes.announce()
        await socket.receive()
        await socket.close()
        return socket


@asynccontextmanager
async def refusing() -> AsyncIterator[Refusing]:
    made, app = Refusing(), web.Application()
    app.router.add_get("/agent", made.take)
    # Twirp: an empty body is a ListRoomsResponse without rooms, which the preflight asks for.
    app.router.add_post("/twirp/{method:.*}", _nothing)
    async with providers.serving(app) as port:
        made.url = f"ws://{HOST}:{port}"
        yield made


async def _nothing(_: web.Request) -> web.Response:
    return web.Response(content_type="application/protobuf")


# Nobody looks at it: LiveKit's key is as good as another where there is no LiveKit.
NO_SECRET = "s" * 40

AWAY_SECONDS = 2.0
# To be answered again in an old call, and to be taken in a new one.
BACK_WITHIN_SECONDS = 45.0
ASK_AGAIN_SECONDS = 6.0
TRY_AGAIN_SECONDS = 2.0

# LiveKit's own 17 attempts take 130 s; ours waits for 120 s.
GIVES_UP_WITHIN_SECONDS = 200.0

FIRST_CONNECT_WITHIN_SECONDS = 60.0
COUNTED_SECONDS = 10.0


async def restart(world: World, subject: Subject) -> Outcome:
    question = await calls.voice(calls.WHOLE.exchanges[0].caller)
    async with world.stage(subject) as stage, calls.dialled(stage) as call:
        await call.until_greeted(within_seconds=calls.ANSWER_WITHIN_SECONDS)
        if not await call.is_answered(question, within_seconds=ASK_AGAIN_SECONDS):
            raise NotHeld("the call was not answered before the restart")
        await processes.kill(stage.livekit.process)
        await asyncio.sleep(AWAY_SECONDS)
        stage.livekit = await livekit_server.start_again(world.binary, stage.livekit)
        began = time.monotonic()
        new_call = asyncio.create_task(_until_taken(stage, began), name="new calls")
        back = await _until_answered(call, question, began)
        taken = await new_call
    figures = [] if taken is None else [Figure("a new call is taken after", (taken,), "s")]
    if back is not None:
        figures.append(Figure("the old one is answered again after", (back,), "s"))
    seen = "" if taken is not None else f"no new call is taken in {BACK_WITHIN_SECONDS:.0f} s"
    return Outcome(int(back is None), 1, tuple(figures), seen)


async def _until_answered(call: Dialled, question: bytes, began: float) -> float | None:
    while time.monotonic() - began < BACK_WITHIN_SECONDS:
        if await call.is_answered(question, within_seconds=ASK_AGAIN_SECONDS):
            return time.monotonic() - began
    return None


async def _until_taken(stage: Stage, began: float) -> float | None:
    """LiveKit offers a call once, so each try is a new one."""
    while time.monotonic() - began < BACK_WITHIN_SECONDS:
        tried = time.monotonic() - began
        done = await calls.place(stage, calls.GREETING, join_within_seconds=TRY_AGAIN_SECONDS)
        if done.joined_seconds is not None:
            return tried + done.joined_seconds
    return None


async def unreachable(world: World, subject: Subject) -> Outcome:
    began = time.monotonic()
    nobody = Address(f"ws://{HOST}:{_free_port()}", API_KEY, NO_SECRET)
    worker = start_worker(world, subject, nobody, world.new_folder(), {})
    try:
        code = await exit_code(worker, within_seconds=GIVES_UP_WITHIN_SECONDS)
    finally:
        await processes.kill(worker)
    took = time.monotonic() - began
    how = "still trying" if code is None else ended(code)
    return Outcome(seen=f"{how} after {took:.0f} s")


async def refused(world: World, subject: Subject) -> Outcome:
    await world.clear()
    async with refusing() as server:
        livekit = Address(server.url, API_KEY, NO_SECRET)
        worker = start_worker(world, subject, livekit, world.new_folder(), {})
        try:
            came = await server.changes.until(
                lambda: server.connects > 0, timeout_seconds=FIRST_CONNECT_WITHIN_SECONDS
            )
            if not came:
                raise NotHeld("the worker did not connect")
            before = server.connects
            code = await exit_code(worker, within_seconds=COUNTED_SECONDS)
        finally:
            await processes.kill(worker)
        rate = (server.connects - before) / COUNTED_SECONDS
    seen = "goes on" if code is None else ended(code)
    return Outcome(figures=(Figure("", (rate,), "connections a second"),), seen=seen)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


DRILLS = (
    Drill("restart", "LiveKit is killed in the middle of a call, and back 2 s later", restart),
    Drill(
        "unreachable",
        "LiveKit cannot be reached from the start",
        unreachable,
        Setting.WAITING,
        is_ranked=False,
    ),
    Drill("refused", "LiveKit takes the connection and refuses to register", refused),
)

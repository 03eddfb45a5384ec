"""The caller's connection: a room, the dispatch, the agent that comes, the hanging up."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
from livekit import api, rtc
from livekit.agents.types import ATTRIBUTE_AGENT_NAME

from voicefleet import errors
from voicefleet.lab.changes import Changes


@dataclass(frozen=True, slots=True)
class Address:
    """Which LiveKit, and whom to ask for there; no `agent_name` asks for whoever is not named. A
    `telephone` is the number of a caller whom LiveKit's SIP bridge has brought into the room.
    """

    url: str
    api_key: str
    api_secret: str
    agent_name: str
    room: str
    identity: str
    telephone: str = ""

    def token(self) -> str:
        """What lets the caller into the room. A telephone's is as the SIP bridge makes it:
        https://docs.livekit.io/reference/telephony/sip-participant/
        """
        grants = api.VideoGrants(room_join=True, room=self.room)
        token = api.AccessToken(self.api_key, self.api_secret).with_identity(self.identity)
        token = token.with_name("caller").with_grants(grants)
        if self.telephone:
            attributes = {
                "sip.callID": "SCL_lab",
                "sip.callStatus": "active",
                "sip.phoneNumber": self.telephone,
                "sip.trunkID": "ST_lab",
            }
            token = token.with_kind("sip").with_attributes(attributes)
        return token.to_jwt()


async def after(work: Coroutine[Any, Any, None]) -> None:
    """Do the work to its end; whoever is cancelled meanwhile is cancelled then.

    A connect that is left half way is a panic of LiveKit's native side 15 s later, which answers it
    with a SIGTERM to this very process (livekit 1.1.21, rtc/_ffi_client.py): the caller of one call
    would end all that run beside it.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=10.0)
CONNECT_TIMEOUT_SECONDS = 10.0
HANG_UP_TIMEOUT_SECONDS = 10.0
RECONNECTED_WITHIN_SECONDS = 5.0

# The room goes away by itself if the caller dies before it can delete it.
EMPTY_ROOM_LASTS_SECONDS = 60

# How an agent leaves that has hung up. One that has died is told of without a reason.
LEFT_FOR_GOOD = (
    rtc.DisconnectReason.CLIENT_INITIATED,
    rtc.DisconnectReason.ROOM_DELETED,
    rtc.DisconnectReason.PARTICIPANT_REMOVED,
)
BACK_WITHIN_SECONDS = 10.0

# LiveKit's BackgroundAudioPlayer plays under and between the agent's words.
BACKGROUND_TRACK = "background_audio"


async def leave(room: rtc.Room) -> None:
    """Leave the room, but not in the moment in which its connection is restarted: LiveKit's native
    side then republishes a track that is gone already, and aborts the process ("called
    `Option::unwrap()` on a `None` value": handle_restarted in livekit/src/room/mod.rs, seen with
    livekit 1.1.21).
    """
    changed = asyncio.Event()
    room.on("connection_state_changed", lambda _state: changed.set())
    if room.connection_state == rtc.ConnectionState.CONN_RECONNECTING:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), RECONNECTED_WITHIN_SECONDS)
    await room.disconnect()


class Line:
    """What is known of the room. Times are the event loop's; at each of `returned_at` the agent
    could be heard again after its voice had gone.
    """

    def __init__(self, address: Address, livekit: api.LiveKitAPI, changes: Changes) -> None:
        self.room = room = rtc.Room()
        self.dispatched_at = 0.0
        self.dispatched_at_unix_seconds = 0.0
        self.agent_joined_at: float | None = None
        self.agent_identity = ""
        self.is_cut = False
        self.returned_at: list[float] = []
        self._has_lost_voice = False
        self._returning: asyncio.Task[None] | None = None
        self.on_track: Callable[[rtc.Track], None] = lambda _: None
        self.on_track_gone: Callable[[rtc.Track], None] = lambda _: None
        self._address = address
        self._livekit = livekit
        self._changes = changes
        room.on("participant_connected", self._notice)
        room.on("track_published", lambda _publication, who: self._notice(who))
        room.on("track_subscribed", self._on_track_subscribed)
        room.on("track_unsubscribed", self._on_track_unsubscribed)
        room.on("participant_disconnected", self._on_participant_disconnected)
        room.on("disconnected", lambda _reason: self._cut())
        room.on("connection_state_changed", lambda _state: changes.announce())

    async def make_room(self) -> None:
        """:raises LiveKitError: if LiveKit cannot be reached or refuses the key."""
        request = api.CreateRoomRequest(
            name=self._address.room, empty_timeout=EMPTY_ROOM_LASTS_SECONDS
        )
        with _explained(self._address):
            await self._livekit.room.create_room(request)
        if not self._address.agent_name:
            self._dispatched()

    async def connect(self) -> None:
        """:raises LiveKitError: if LiveKit does not let the caller in."""
        options = rtc.RoomOptions(connect_timeout=CONNECT_TIMEOUT_SECONDS)
        connecting = self.room.connect(self._address.url, self._address.token(), options)
        try:
            await after(connecting)
        except rtc.ConnectError as error:
            raise errors.LiveKitError(
                f"LiveKit at {self._address.url} answers, but the caller could not join: {error}",
                fix="the WebSocket and the media ports of LiveKit must be reachable from here",
            ) from error
        for participant in self.room.remote_participants.values():
            self._notice(participant)

    async def dispatch(self) -> None:
        """Ask for the agent by its name; one without a name was asked for by making the room.

        :raises LiveKitError: if LiveKit refuses.
        """
        if not self._address.agent_name:
            return
        request = api.CreateAgentDispatchRequest(
            agent_name=self._address.agent_name, room=self._address.room
        )
        self._dispatched()
        with _explained(self._address):
            await self._livekit.agent_dispatch.create_dispatch(request)

    async def hang_up(self) -> None:
        """Leave, then delete the room: the process must not end while its native side leaves."""
        with contextlib.suppress(TimeoutError, api.ServerError, aiohttp.ClientError):
            async with asyncio.timeout(HANG_UP_TIMEOUT_SECONDS):
                try:
                    await leave(self.room)
                finally:
                    await self._livekit.room.delete_room(
                        api.DeleteRoomRequest(room=self._address.room)
                    )

    async def wait_for_agent(self, timeout_seconds: float) -> None:
        """:raises NoAgentError: if none has come in time."""
        came = await self._changes.until(
            lambda: self.agent_joined_at is not None or self.is_cut, timeout_seconds=timeout_seconds
        )
        if self.agent_joined_at is None:
            name = self._address.agent_name
            who = f"agent {name!r}" if name else "agent without a name"
            why = f"within {timeout_seconds:g} s" if not came else "before the room was closed"
            raise errors.NoAgentError(
                f"LiveKit took the dispatch, but no {who} joined room {self._address.room} {why}",
                fix="start a worker with this agent name at the same LiveKit, and see in its log"
                " (the output of `voicefleet start`, or of its pod) whether it is ready for calls,"
                " has a free slot, and whether the agent file raised an error",
            )

    def _dispatched(self) -> None:
        self.dispatched_at = asyncio.get_running_loop().time()
        self.dispatched_at_unix_seconds = time.time()

    def _notice(self, participant: rtc.RemoteParticipant) -> None:
        """LiveKit tells of a participant that publishes nothing up to 3 s late: whichever of its
        events comes first counts.
        """
        if self.agent_joined_at is None and self._is_called(participant):
            self.agent_joined_at = asyncio.get_running_loop().time()
            self.agent_identity = participant.identity
            self._changes.announce()

    def _is_called(self, participant: rtc.RemoteParticipant) -> bool:
        """An agent without a name comes into every new room, whoever was called."""
        if participant.kind != rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            return False
        name, wanted = participant.attributes.get(ATTRIBUTE_AGENT_NAME), self._address.agent_name
        return not wanted or name is None or name == wanted

    def _on_track_subscribed(
        self,
        track: rtc.Track,
        publication: rtc.RemoteTrackPublication,
        participant: rtc.RemoteParticipant,
    ) -> None:
        self._notice(participant)
        is_voice = track.kind == rtc.TrackKind.KIND_AUDIO and publication.name != BACKGROUND_TRACK
        if is_voice and participant.identity == self.agent_identity:
            if self._has_lost_voice:
                self._has_lost_voice = False
                self.returned_at.append(asyncio.get_running_loop().time())
            self.on_track(track)

    def _on_track_unsubscribed(
        self, track: rtc.Track, _: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if participant.identity == self.agent_identity:
            self._has_lost_voice = True
            self.on_track_gone(track)

    def _on_participant_disconnected(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity != self.agent_identity:
            return
        if participant.disconnect_reason in LEFT_FOR_GOOD:
            self._cut()
        else:
            # Another job may go on with its call, as the same participant.
            self._returning = asyncio.create_task(self._cut_unless_back(), name="agent is back")

    async def _cut_unless_back(self) -> None:
        is_back = self._changes.until(
            lambda: self.agent_identity in self.room.remote_participants,
            timeout_seconds=BACK_WITHIN_SECONDS,
        )
        if not await is_back:
            self._cut()

    def _cut(self) -> None:
        self.is_cut = True
        self._changes.announce()


@contextlib.asynccontextmanager
async def open_line(address: Address, changes: Changes) -> AsyncIterator[Line]:
    """A line with a room of its own, which is gone after the block, whatever happens in it.

    :raises LiveKitError: if LiveKit cannot be reached or refuses the key.
    """
    async with api.LiveKitAPI(
        address.url, address.api_key, address.api_secret, timeout=REQUEST_TIMEOUT
    ) as livekit:
        line = Line(address, livekit, changes)
        await line.make_room()
        try:
            yield line
        finally:
            await line.hang_up()


@contextlib.contextmanager
def _explained(address: Address) -> Iterator[None]:
    """Turns what the API's client raises into what a person can act on."""
    try:
        yield
    except api.ServerError as error:
        if error.status in (401, 403):
            raise errors.LiveKitError(
                f"LiveKit at {address.url} refuses the key {address.api_key!r}: {error.message}",
                fix="check LIVEKIT_API_KEY and LIVEKIT_API_SECRET against that server's keys",
            ) from error
        raise errors.LiveKitError(
            f"LiveKit at {address.url} refuses the dispatch: {error.code}, {error.message}",
            fix="see the server's log; this needs livekit-server 1.8 or later",
        ) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise errors.LiveKitError(
            f"LiveKit cannot be reached at {address.url}: {error or type(error).__name__}",
            fix="check LIVEKIT_URL, and that the server runs and this machine can reach it",
        ) from error

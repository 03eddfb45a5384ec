"""Looks after calls that have no session: is their caller still in the room?

A job sees through its session that the caller has left. An entrypoint that hangs before it
connects, returns without connecting, or waits for somebody else has none, and would keep its slot
for ever. So the pod asks LiveKit who is in the room of such a call.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from livekit import api

from voicefleet.livekit_compat.session import is_caller
from voicefleet.pod.calls import Call, CallState, CallTable
from voicefleet.settings.livekit import LiveKit
from voicefleet.telemetry.messages import Cause

logger = logging.getLogger(__name__)

# A slot is to be free within 5 s of the caller's going.
LOOK_EVERY_SECONDS = 2.0
# A call of an ordinary agent file has its session by then, and is never asked about.
FIRST_LOOK_SECONDS = 1.5
ANSWER_WITHIN_SECONDS = 2.0
MOST_AT_ONCE = 8

AskCallers = Callable[[str], Awaitable[int]]


@dataclass(slots=True)
class RoomWatch:
    """Belongs to the parent's event loop. `end` has a call's process leave, for the cause.
    `empty_room_seconds`: how long a room that nobody has entered is waited for.
    """

    table: CallTable
    end: Callable[[Call, Cause], Awaitable[None]]
    empty_room_seconds: float
    _limit: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_AT_ONCE))

    @asynccontextmanager
    async def watching(self, callers_in: AskCallers) -> AsyncIterator[None]:
        """Watch while the context lasts; `callers_in` tells how many callers a room has."""
        watching = asyncio.create_task(self._watch(callers_in), name="watch rooms")
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self, callers_in: AskCallers) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            now = self.table.clock()
            calls = [call for call in self.table if is_unseen(call, now)]
            await asyncio.gather(*(self._look(call, callers_in) for call in calls))

    async def _look(self, call: Call, callers_in: AskCallers) -> None:
        try:
            async with self._limit, asyncio.timeout(ANSWER_WITHIN_SECONDS):
                callers = await callers_in(call.room_name)
        except (aiohttp.ClientError, api.TwirpError, TimeoutError, OSError) as error:
            # What is not known ends no call.
            logger.info("room not asked about", extra={**fields_of(call), "error": repr(error)})
            return
        cause = verdict(call, callers, self.table.clock(), self.empty_room_seconds)
        if cause is not None and is_unseen(call, self.table.clock()):
            logger.info("a call without a session is left", extra={**fields_of(call), "why": cause})
            await self.end(call, cause)


def is_unseen(call: Call, now: float) -> bool:
    """Whether a process has the call, and no session of it would notice that the caller leaves."""
    launched_at = call.launched_at
    return (
        call.state is CallState.RUNNING
        and call.open_sessions == 0
        and call.pid is not None
        and launched_at is not None
        and now - launched_at >= FIRST_LOOK_SECONDS
    )


def verdict(call: Call, callers: int, now: float, empty_room_seconds: float) -> Cause | None:
    """Why the call is to end, now that its room has so many callers; None if it is not."""
    if callers:
        call.was_entered = True
        return None
    if call.was_entered:
        return Cause.CALLER_LEFT
    since = now - (call.launched_at or now)
    return Cause.NOBODY_CAME if since >= empty_room_seconds else None


def fields_of(call: Call) -> dict[str, str]:
    return {"job_id": call.job_id, "room_id": call.room_id}


@asynccontextmanager
async def asking(livekit: LiveKit) -> AsyncIterator[AskCallers]:
    """How many callers LiveKit knows in a room; none in a room that is no more."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_SECONDS)
    async with api.LiveKitAPI(
        livekit.url, livekit.api_key, livekit.secret, timeout=timeout
    ) as client:

        async def callers_in(room: str) -> int:
            try:
                found = await client.room.list_participants(api.ListParticipantsRequest(room=room))
            except api.TwirpError as error:
                if error.code == api.TwirpErrorCode.NOT_FOUND:
                    return 0
                raise
            return sum(is_caller(who) for who in found.participants)

        yield callers_in

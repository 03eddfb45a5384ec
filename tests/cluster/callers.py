"""Whoever rings in a test."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.cluster.call import PATIENCE_SECONDS, Call
from voicefleet import errors
from voicefleet.lab.livekit_server import LiveKitServer

TAKEN_WITHIN_SECONDS = 90.0


@dataclass(slots=True)
class Callers:
    """At one LiveKit, which may change."""

    livekit: LiveKitServer
    calls: list[Call] = field(default_factory=list)

    def dial(self, *, room: str = "call", patience: float = PATIENCE_SECONDS) -> Call:
        self.calls.append(Call(self.livekit, room=room, patience=patience))
        return self.calls[-1]

    async def ring(self, *, room: str = "call", patience: float = PATIENCE_SECONDS) -> Call:
        """A call that was taken and answered, or is over."""
        return await self.dial(room=room, patience=patience).until_answered()

    async def until_taken(self) -> Call:
        """A call that is answered: LiveKit offers each once, so it is rung again and again."""
        deadline = time.monotonic() + TAKEN_WITHIN_SECONDS
        while True:
            try:
                call = await self.ring()
                if call.is_on:
                    return call
            except errors.LiveKitError:
                await asyncio.sleep(1.0)
            assert time.monotonic() < deadline, "nobody takes a call"


@asynccontextmanager
async def ringing(livekit: LiveKitServer) -> AsyncIterator[Callers]:
    """Callers who have all hung up after the block, whatever happens in it."""
    callers = Callers(livekit)
    try:
        yield callers
    finally:
        await asyncio.gather(*(call.aclose() for call in callers.calls))

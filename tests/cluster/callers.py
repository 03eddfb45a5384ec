"""Whoever rings in a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.cluster.call import PATIENCE_SECONDS, Call
from worker.lab.livekit_server import LiveKitServer


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


@asynccontextmanager
async def ringing(livekit: LiveKitServer) -> AsyncIterator[Callers]:
    """Callers who have all hung up after the block, whatever happens in it."""
    callers = Callers(livekit)
    try:
        yield callers
    finally:
        await asyncio.gather(*(call.aclose() for call in callers.calls))

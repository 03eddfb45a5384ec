"""Tells LiveKit at once that a slot is free: by itself it hears every 2.5 s, and meanwhile the next
caller is refused although there is room.
"""

import contextlib

from livekit.agents import AgentServer, utils


async def tell(server: AgentServer) -> None:
    """Have LiveKit's worker look at its load and report it, as its own timers do."""
    await server._refresh_worker_load()
    # The connection may be closing; then there is nobody to tell.
    with contextlib.suppress(utils.aio.ChanClosed):
        await server._update_worker_status()

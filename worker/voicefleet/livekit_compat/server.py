"""Tells LiveKit at once that a slot is free: by itself it hears every 2.5 s, and meanwhile the next
caller is refused although there is room.
"""

import contextlib
import logging

from livekit.agents import AgentServer, utils

logger = logging.getLogger(__name__)


async def report_load_now(server: AgentServer) -> None:
    """Have LiveKit's worker look at its load and report it, as its own timers do. Never raises:
    whoever tells it listens to a call that goes on.
    """
    try:
        await server._refresh_worker_load()
        # The connection may be closing; then there is nobody to tell.
        with contextlib.suppress(utils.aio.ChanClosed):
            await server._update_worker_status()
    except Exception:
        logger.exception("a free slot was not reported")

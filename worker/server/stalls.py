"""Notices when the parent's event loop stood still: offers are answered late then, and probes fail.

In a call LiveKit's own monitor does this (livekit-agents 1.8.9, telemetry/loop_monitor.py); in the
parent only LiveKit's own command line starts one.
"""

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 0.1
STALL_SECONDS = 0.1


async def watch(on_stall: Callable[[], None]) -> None:
    """Until cancelled, call `on_stall` for each time the loop came back late."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOK_EVERY_SECONDS
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        late_seconds = loop.time() - due
        if late_seconds >= STALL_SECONDS:
            logger.warning("event loop stalled", extra={"seconds": round(late_seconds, 3)})
            on_stall()

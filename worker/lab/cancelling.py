"""Cancels what must not be left half way: after it is over."""

import asyncio
from collections.abc import Coroutine
from typing import Any


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

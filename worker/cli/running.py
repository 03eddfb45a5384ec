"""How a verb runs its coroutine: SIGTERM ends it as Ctrl-C does, so that it gives back what it
holds.
"""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


def run(work: Coroutine[Any, Any, int]) -> int:
    """The exit code of the work.

    :raises KeyboardInterrupt: if SIGINT or SIGTERM cancelled it; it has cleaned up by then.
    """
    try:
        return asyncio.run(_until_told(work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _until_told(work: Coroutine[Any, Any, int]) -> int:
    doing = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, doing.cancel)
    return await doing

"""Until there is a pod to drain, told to stop means gone."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn


def leave_when_told() -> None:
    """Let a SIGTERM end this process with 0, whatever it is doing.

    To be called before LiveKit's framework is imported, which takes seconds: process 1 of a
    container does not even hear a SIGTERM for which it has no handler, would start, and would take
    calls until it is killed with them.
    """
    signal.signal(signal.SIGTERM, _leave)


def _leave(*_: object) -> NoReturn:
    # An exception would be an error of whatever is being imported.
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


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

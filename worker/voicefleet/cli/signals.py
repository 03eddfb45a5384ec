"""What SIGTERM does to a verb. Once there is a pod, the pod answers it and drains."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn


def leave_when_told() -> None:
    """Let a SIGTERM end this process at once, with exit code 0.

    For a start, until its pod runs. Process 1 of a container does not receive a SIGTERM for which
    it has no handler: the pod would come up after it was told to stop, take calls, and be killed
    with them.
    """
    signal.signal(signal.SIGTERM, _leave)


def _leave(*_: object) -> NoReturn:
    # An exception would be an error of whatever is being imported.
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def run(work: Coroutine[Any, Any, int]) -> int:
    """The exit code of the work; SIGINT and SIGTERM cancel it, and it cleans up.

    :raises KeyboardInterrupt: if it was cancelled.
    """
    try:
        return asyncio.run(_cancelled_by_sigterm(work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _cancelled_by_sigterm(work: Coroutine[Any, Any, int]) -> int:
    # asyncio.run() has the same for SIGINT.
    doing = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, doing.cancel)
    return await doing

"""Lets a coroutine wait until something it can see has become so, without polling."""

import asyncio
import contextlib
from collections.abc import Callable


class Changes:
    """Everybody who changes the state of a call announces it here, on the event loop; everybody who
    waits for a state is then asked again. Received sound announces itself every 10 ms, so that
    the passing of time may be part of what is waited for.
    """

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}

    def announce(self) -> None:
        for future, is_so in list(self._waiting.items()):
            if not future.done() and is_so():
                future.set_result(None)

    async def until(self, is_so: Callable[[], bool], *, timeout_seconds: float) -> bool:
        """Whether it became so in time."""
        if is_so():
            return True
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = is_so
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await future
            return is_so()
        finally:
            del self._waiting[future]

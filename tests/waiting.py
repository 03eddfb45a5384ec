"""Waiting for what has no event: another process, a file, a counter behind an endpoint."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

LOOK_EVERY_SECONDS = 0.02


async def wait_until(
    predicate: Callable[[], bool | Awaitable[bool]],
    *,
    because: str,
    timeout_seconds: float = 20.0,
) -> None:
    """Look until it is so; `because` is what the test fails with: what should have become so."""
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    while True:
        answer = predicate()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {timeout_seconds:g} s: {because}")
        await asyncio.sleep(LOOK_EVERY_SECONDS)

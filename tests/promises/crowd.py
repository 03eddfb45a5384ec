"""Calls of all kinds to the case `mixed`, one after the other, by a process of their own."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.promises.visitor import Visitor, dispatch, new_room, visiting
from voicefleet.lab import processes, stack
from voicefleet.lab.stack import Stack

STACK = "crowd.json"
ALL_OVER = "all calls are over"
WENT_ON = "the call went on"


@asynccontextmanager
async def calling(up: Stack) -> AsyncIterator[Visitor]:
    """Dispatched for when they are there: on a busy machine some need longer to connect than the
    short time after which nobody has come.
    """
    room = new_room()
    async with visiting(up, room) as visitor:
        await dispatch(up, room, "answered")
        await visitor.turns_on_a_microphone()
        yield visitor


async def answered(up: Stack) -> None:
    async with calling(up) as visitor:
        await visitor.is_greeted()


async def hung_up(up: Stack) -> None:
    """In the greeting: it is begun when the agent can be heard."""
    async with calling(up) as visitor:
        await visitor.meets_an_agent()


async def never_joined(up: Stack) -> None:
    await dispatch(up, new_room(), "answered")
    await asyncio.sleep(2.0)


async def refused(up: Stack) -> None:
    room = new_room()
    async with visiting(up, room):
        await dispatch(up, room, "refused")
        await asyncio.sleep(1.0)


async def reloaded(up: Stack) -> None:
    room = new_room()
    async with visiting(up, room, asks_for="mixed") as visitor:
        await visitor.turns_on_a_microphone()
        await visitor.is_greeted()
        (first,) = visitor.agents()
    async with visiting(up, room, asks_for="mixed") as visitor:
        await visitor.turns_on_a_microphone()
        if not await visitor.is_greeted_again(first.identity):
            tell(WENT_ON)


def crashed(how: str) -> Callable[[Stack], Coroutine[Any, Any, None]]:
    async def call(up: Stack) -> None:
        room = new_room()
        async with visiting(up, room) as visitor:
            await visitor.turns_on_a_microphone()
            await dispatch(up, room, how)
            await asyncio.sleep(2.0)

    return call


KINDS: dict[str, Callable[[Stack], Coroutine[Any, Any, None]]] = {
    "answered": answered,
    "hung up": hung_up,
    "never joined": never_joined,
    "refused": refused,
    "raises": crashed("raises"),
    "dies": crashed("dies"),
    "reloaded": reloaded,
}


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def call(up: Stack, kinds: list[str]) -> int:
    """Have a process place these calls; when they are over, how many of those who reloaded the page
    went on with the call that they had.
    """
    state = up.folder / STACK
    stack.save(up, state)
    process = await asyncio.create_subprocess_exec(
        *processes.python("tests.promises.crowd", str(state), *kinds),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = output.decode()
    # LiveKit's client may abort a process that ends (livekit 1.1.21); its calls are over by then.
    assert ALL_OVER in said, f"a caller of {kinds} failed: {said}"
    return said.count(WENT_ON)


async def _place(up: Stack, kinds: list[str]) -> None:
    for kind in kinds:
        tell(kind)
        await KINDS[kind](up)
    tell(ALL_OVER)


if __name__ == "__main__":
    where, *what = sys.argv[1:]
    found = stack.saved(Path(where))
    assert found is not None
    asyncio.run(_place(found, what))

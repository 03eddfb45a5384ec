"""Whole stacks for the promises: real livekit-server, stand-ins, a worker, as the demo has them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from voicefleet.lab import stack
from voicefleet.lab.stack import Plan, Stack

RunStack = Callable[..., AbstractAsyncContextManager[Stack]]
Host = Callable[..., AbstractAsyncContextManager[Stack]]

CASES = Path(__file__).with_name("cases")


@pytest.fixture
def run_stack(tmp_path: Path, livekit_server_binary: Path) -> RunStack:
    """A stack of its own for one test; `agent` is a value of VOICEFLEET_AGENT."""

    @asynccontextmanager
    async def running(
        agent: str, script: str = "assistant", behaviour: tuple[str, ...] = (), **extra: str
    ) -> AsyncIterator[Stack]:
        binary = livekit_server_binary
        plan = Plan(agent, script, tmp_path, binary, behaviour, tuple(extra.items()))
        async with stack.run(plan, say=lambda *_: None) as up:
            yield up

    return running


@pytest.fixture(scope="module")
def assistant_stack(
    tmp_path_factory: pytest.TempPathFactory, livekit_server_binary: Path
) -> Iterator[Stack]:
    """One stack with the assistant, for the tests of a module that leave it as it is."""
    folder = tmp_path_factory.mktemp("stack")
    plan = Plan("assistant", "assistant", folder, livekit_server_binary)
    up = asyncio.run(stack.up(plan, say=lambda *_: None))
    yield up
    asyncio.run(stack.down(up))


@pytest.fixture
def host(run_stack: RunStack, tmp_path: Path) -> Host:
    """A stack that hosts one of the cases; what its file writes down is in `marks(up)`."""

    @asynccontextmanager
    async def hosting(case: str, **extra: str) -> AsyncIterator[Stack]:
        folder = tmp_path / "marks"
        folder.mkdir(exist_ok=True)
        file = str(CASES / f"{case}.py")
        async with run_stack(file, MARKS=str(folder), **extra) as up:
            yield up

    return hosting

"""Whole stacks for the promises: real livekit-server, stand-ins, a worker, as the demo has them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from voicefleet.lab import stack
from voicefleet.lab.stack import Plan, Stack

RunStack = Callable[..., AbstractAsyncContextManager[Stack]]


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

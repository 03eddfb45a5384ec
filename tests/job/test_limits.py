"""When nobody has said anything for too long."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from livekit.agents import AgentSession, AgentStateChangedEvent, UserStateChangedEvent

from worker.job import limits

SILENCE_SECONDS = 0.2


class Session:
    """The states of LiveKit's AgentSession, and who hears of their changes."""

    def __init__(self) -> None:
        self.user_state: Any = "listening"
        self.agent_state: Any = "listening"
        self.heard: dict[str, list[Callable[[Any], None]]] = {}

    def on(self, event: str, handler: Callable[[Any], None]) -> None:
        self.heard.setdefault(event, []).append(handler)

    def off(self, event: str, handler: Callable[[Any], None]) -> None:
        self.heard[event].remove(handler)

    def user(self, state: Any) -> None:
        change = UserStateChangedEvent(old_state=self.user_state, new_state=state)
        self.user_state = state
        for handler in self.heard["user_state_changed"]:
            handler(change)

    def agent(self, state: Any) -> None:
        change = AgentStateChangedEvent(old_state=self.agent_state, new_state=state)
        self.agent_state = state
        for handler in self.heard["agent_state_changed"]:
            handler(change)


def watched(session: Session) -> asyncio.Task[None]:
    livekit: AgentSession[Any] = session  # type: ignore[assignment]
    return asyncio.create_task(limits.silence(livekit, SILENCE_SECONDS))


async def test_silence_is_over_when_nobody_has_spoken_for_so_long() -> None:
    session = Session()
    async with asyncio.timeout(5):
        await watched(session)
    assert session.heard == {"user_state_changed": [], "agent_state_changed": []}


@pytest.mark.parametrize("state", ["thinking", "speaking"])
async def test_an_agent_that_thinks_or_speaks_is_not_silent(state: str) -> None:
    session = Session()
    watching = watched(session)
    await asyncio.sleep(0)
    session.agent(state)
    await asyncio.sleep(SILENCE_SECONDS * 2)
    assert not watching.done()
    session.agent("listening")
    async with asyncio.timeout(5):
        await watching


async def test_a_caller_whom_livekit_calls_away_has_not_said_anything() -> None:
    session = Session()
    watching = watched(session)
    for _ in range(8):
        await asyncio.sleep(SILENCE_SECONDS / 4)
        session.user("away")
    assert watching.done()


async def test_a_caller_who_speaks_is_not_silent() -> None:
    session = Session()
    watching = watched(session)
    await asyncio.sleep(0)
    session.user("speaking")
    await asyncio.sleep(SILENCE_SECONDS * 2)
    assert not watching.done()
    watching.cancel()

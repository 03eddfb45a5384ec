"""When nobody has said anything for too long, in any session of a call."""

import asyncio
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    CloseReason,
    UserStateChangedEvent,
)

from voicefleet.job.silence import Silence

SILENCE_SECONDS = 0.2


class Session(rtc.EventEmitter[str]):
    """What LiveKit's AgentSession tells of its state."""

    def user(self, state: Any) -> None:
        change = UserStateChangedEvent(old_state="listening", new_state=state)
        self.emit("user_state_changed", change)

    def agent(self, state: Any) -> None:
        change = AgentStateChangedEvent(old_state="listening", new_state=state)
        self.emit("agent_state_changed", change)

    def close(self) -> None:
        self.emit("close", CloseEvent(reason=CloseReason.USER_INITIATED))


def watched(*sessions: Session) -> asyncio.Task[None]:
    silence = Silence()
    for session in sessions:
        silence.listen(cast(AgentSession[Any], session))
    return asyncio.create_task(silence.lasts(SILENCE_SECONDS))


async def test_silence_is_over_when_nobody_has_spoken_for_so_long() -> None:
    async with asyncio.timeout(5):
        await watched(Session())


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


async def test_a_call_is_not_silent_while_anybody_in_any_of_its_sessions_speaks() -> None:
    """The first session alone was listened to: a meeting whose first guest was quiet was ended."""
    first, second = Session(), Session()
    watching = watched(first, second)
    second.user("speaking")
    first.user("listening")
    await asyncio.sleep(SILENCE_SECONDS * 2)
    assert not watching.done()
    second.user("listening")
    async with asyncio.timeout(5):
        await watching


async def test_who_leaves_in_the_middle_of_a_word_speaks_no_longer() -> None:
    first, second = Session(), Session()
    watching = watched(first, second)
    second.user("speaking")
    second.agent("thinking")
    second.close()
    async with asyncio.timeout(5):
        await watching

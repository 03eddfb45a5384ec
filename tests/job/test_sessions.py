"""Every session of a call is told as it starts, and closed at its end; for the agent file nothing
else changes.
"""

import asyncio
from typing import Any

import pytest
from livekit.agents import Agent, AgentSession, CloseEvent

from voicefleet.job import call
from voicefleet.livekit_compat import session as livekit_session


def text_session() -> AgentSession[None]:
    return AgentSession(vad=None, turn_handling={"turn_detection": None})


async def test_each_session_is_told_right_before_it_starts_and_again_when_it_starts_again() -> None:
    told: list[tuple[AgentSession[Any], str]] = []
    end = livekit_session.watch_starts(lambda session: told.append((session, session.agent_state)))
    try:
        first, second = text_session(), text_session()
        for session in (first, second, first):
            await session.start(Agent(instructions=""))
            await session.aclose()
    finally:
        end()
    assert told == [(first, "initializing"), (second, "initializing"), (first, "initializing")]


async def test_what_the_agent_file_asks_of_start_reaches_livekit_and_so_does_its_answer() -> None:
    end = livekit_session.watch_starts(lambda _: None)
    try:
        async with text_session() as session:
            result = await session.start(Agent(instructions=""), capture_run=True)
    finally:
        end()
    assert [event.type for event in result.events] == ["agent_handoff"]


async def test_a_watcher_that_fails_does_not_fail_the_session() -> None:
    def fail(_: AgentSession[Any]) -> None:
        raise TypeError("no")

    end = livekit_session.watch_starts(fail)
    try:
        async with text_session() as session:
            await session.start(Agent(instructions=""))
            assert session.agent_state == "listening"
    finally:
        end()


async def test_after_the_call_livekits_method_is_its_own_again() -> None:
    before = AgentSession.start
    livekit_session.watch_starts(lambda _: None)()
    assert AgentSession.start is before


class Lingering(Agent):
    """Its work after the end never ends."""

    async def on_exit(self) -> None:
        await asyncio.Event().wait()


class Broken(AgentSession[None]):
    async def aclose(self) -> None:
        await super().aclose()
        raise ValueError("the provider's last error")


async def test_a_session_that_cannot_close_holds_up_neither_the_others_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call, "CLOSE_WITHIN_SECONDS", 0.3)
    closed: list[CloseEvent] = []
    broken = Broken(vad=None, turn_handling={"turn_detection": None})
    hanging, well = text_session(), text_session()
    await broken.start(Agent(instructions=""))
    await hanging.start(Lingering(instructions=""))
    await well.start(Agent(instructions=""))
    well.on("close", closed.append)
    async with asyncio.timeout(5):
        await call.close([broken, hanging, well])
    assert len(closed) == 1

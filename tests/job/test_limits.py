"""A call that goes on for too long: farewell, hang up, end, whatever fails on the way."""

import asyncio

import pytest
from livekit.agents import JobContext

from worker.job import limits


class Line:
    """The parts of LiveKit's JobContext and AgentSession that an ending uses, in their order."""

    def __init__(self, *, has_session: bool = True, is_dumb: bool = False) -> None:
        self.done: list[str] = []
        self._has_session = has_session
        self._is_dumb = is_dumb

    @property
    def primary_session(self) -> "Line":
        if not self._has_session:
            raise RuntimeError("no session")
        return self

    async def interrupt(self, *, force: bool) -> None:
        self.done.append("interrupt")

    async def say(self, text: str, *, allow_interruptions: bool) -> None:
        if self._is_dumb:
            await asyncio.Event().wait()
        self.done.append(f"say {text}")

    async def delete_room(self) -> None:
        self.done.append("hang up")

    def shutdown(self, reason: str) -> None:
        self.done.append(f"end: {reason}")


def context(line: Line) -> JobContext:
    return line  # type: ignore[return-value]


async def test_the_caller_hears_a_farewell_before_the_line_goes_down() -> None:
    line = Line()
    await limits.end(context(line), "Goodbye.", reason="enough")
    assert line.done == ["interrupt", "say Goodbye.", "hang up", "end: enough"]


async def test_a_call_without_a_session_is_ended_without_words() -> None:
    line = Line(has_session=False)
    await limits.end(context(line), "Goodbye.", reason="enough")
    assert line.done == ["hang up", "end: enough"]


async def test_a_voice_that_hangs_keeps_no_call_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FAREWELL_WITHIN_SECONDS", 0.05)
    line = Line(is_dumb=True)
    await limits.end(context(line), "Goodbye.", reason="enough")
    assert line.done[-1] == "end: enough"


async def test_a_call_that_is_over_in_time_is_left_alone() -> None:
    line = Line()
    timer = asyncio.create_task(limits.end_after(context(line), 60.0, "Goodbye."))
    await asyncio.sleep(0)
    timer.cancel()
    assert line.done == []

"""A call in words."""

import pytest

from voicefleet.cli import report
from voicefleet.lab.timeline import Event, EventKind, Timeline, Turn


def call_of(*turns: Turn) -> Timeline:
    return Timeline("room", "agent", "id", 0.0, 0.4, 0.6, 9.0, False, turns)


def test_an_event_is_a_time_a_kind_and_the_words() -> None:
    said = Event(4.456, EventKind.CALLER_SPEAKS, "When are you open?")
    assert report.event(said) == "   4.46 s  caller speaks  “When are you open?”"


def test_an_answer_shows_the_gap_before_it() -> None:
    assert report.event(Event(7.8, EventKind.AGENT_SPEAKS, gap_seconds=0.731)).endswith(
        "agent speaks   after 0.73 s"
    )


def test_both_sides_are_shown_with_what_the_other_heard() -> None:
    turn = Turn(
        said="When are you open?",
        expected="At ten.",
        heard="At two.",
        agent_heard="When are you open?",
        agent_said="At two o'clock.",
        tools=("opening_hours",),
        said_from_seconds=1.0,
        said_until_seconds=2.0,
        answered_at_seconds=2.5,
    )
    shown = report.conversation(call_of(turn))
    assert "agent heard word for word, called opening_hours" in shown
    assert "+0.50 s  agent      At two o'clock. (expected: At ten.)" in shown
    assert "caller heard “At two.”" in shown


def test_an_agent_that_shows_no_transcript_is_said_to_show_none() -> None:
    assert "shows no transcript" in report.conversation(call_of(Turn(said="Hi.", expected="")))


def test_where_nothing_was_expected_the_words_are_the_agents() -> None:
    """The same call said what was heard, and below it that nothing was."""
    turn = Turn(said="Hi.", expected="", heard="", agent_said="Hello.", agent_heard="Hi.")
    shown = report.conversation(call_of(turn))
    assert "caller heard a voice; the words are the agent's own account" in shown


def test_the_same_error_of_the_agent_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A provider that is away was told of nineteen times."""
    told = report.printer()
    for number in range(3):
        told(Event(1.0, EventKind.AGENT_ERROR, f"timestamp=179604000{number}.5 no such host"))
    told(Event(2.0, EventKind.AGENT_ERROR, "timestamp=1796040001.5 refused"))
    printed = capsys.readouterr().out
    assert (printed.count("no such host"), printed.count("refused")) == (1, 1)


def test_a_call_without_an_answer_has_no_gaps() -> None:
    assert report.conversation(call_of()).endswith("gaps of the turns: none")


def test_what_nobody_said_is_told_as_what_was_expected() -> None:
    silent = Turn("Good day.", "Hello there.")
    assert "agent      … (expected: Hello there.)" in report.conversation(call_of(silent))

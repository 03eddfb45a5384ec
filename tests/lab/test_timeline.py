import dataclasses
import json

import pytest

from voicefleet import errors
from voicefleet.lab.agent_account import Record, RecordKind
from voicefleet.lab.listening import Utterance
from voicefleet.lab.microphone import FRAME_SAMPLES, SAMPLE_RATE, Spoken, voiced_frames
from voicefleet.lab.timeline import (
    Taken,
    Timeline,
    Turn,
    as_turn,
    by_turn,
    heard_in,
    similarity,
    verdict,
)


@dataclasses.dataclass
class Line:
    dispatched_at: float = 8.0
    returned_at: list[float] = dataclasses.field(default_factory=list)


LINE = Line()
TEN = "On Saturday we are open from ten in the morning until four in the afternoon."
GREETING = Turn("", "Hello.", heard="hello", answered_at_seconds=1.0)
ASKED = Turn(
    "When are you open?",
    TEN,
    heard=TEN.lower(),
    agent_heard="when are you open",
    said_from_seconds=2.0,
    said_until_seconds=3.5,
    answered_at_seconds=4.25,
)


def call(*turns: Turn) -> Timeline:
    return Timeline(
        room="call-1",
        agent_name="assistant",
        agent_identity="agent-1",
        dispatched_at_unix_seconds=1_700_000_000.0,
        agent_joined_seconds=0.5,
        first_audio_seconds=1.0,
        ended_seconds=9.0,
        was_ended_by_agent=False,
        turns=turns,
    )


def changed(turn: Turn, **values: object) -> Turn:
    return dataclasses.replace(turn, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expected", "heard", "is_understood"),
    [
        ("Thank you, goodbye!", "thank you goodbye", True),
        (TEN, "on saturday we are open from ten in the morning until five", True),
        (TEN, "on saturday we are open", False),
        (TEN, "", False),
        (TEN, f"{TEN} {TEN}", False),
        ("", "", True),
    ],
)
def test_two_texts_are_the_same_when_four_words_in_five_are(
    expected: str, heard: str, is_understood: bool
) -> None:
    assert (similarity(expected, heard) >= 0.8) is is_understood


def test_of_an_interrupted_answer_only_its_beginning_is_expected() -> None:
    assert similarity(TEN, "on saturday we are open", is_cut=True) == 1.0
    assert similarity(TEN, "the reading group meets", is_cut=True) < 0.5
    assert similarity(TEN, "", is_cut=True) == 0.0


def test_a_call_in_which_both_sides_understood_has_no_problem() -> None:
    timeline = call(GREETING, ASKED)
    assert timeline.agent_understood
    assert timeline.caller_understood
    assert verdict(timeline) is None
    assert ASKED.gap_seconds == 0.75


@pytest.mark.parametrize(
    ("turn", "problem"),
    [
        (changed(ASKED, answered_at_seconds=None, heard=""), "did not answer 'When are you open?'"),
        (changed(ASKED, said_until_seconds=None), "hung up before the caller could say"),
        (changed(ASKED, agent_heard="where are the pens"), "the agent heard 'where are the pens'"),
        (changed(ASKED, heard="the group"), "and heard 'the group'"),
        (changed(ASKED, expected="", agent_heard=None), "shows no transcript"),
    ],
)
def test_the_verdict_names_the_turn_that_went_wrong(turn: Turn, problem: str) -> None:
    found = verdict(call(GREETING, turn))
    assert isinstance(found, errors.NotUnderstoodError)
    assert problem in found.problem
    assert "call-1" in found.fix


def test_an_error_that_the_agent_reports_again_and_again_is_told_once() -> None:
    texts = [f"type='stt_error' timestamp={number}.5 label='x'" for number in range(9)]
    failed = dataclasses.replace(
        call(changed(ASKED, answered_at_seconds=None, heard="")), agent_errors=(*texts, "y" * 999)
    )
    found = verdict(failed)
    assert found is not None
    assert "the agent reports 9 times: type='stt_error' label='x'" in found.problem
    assert len(found.problem) < 600


def test_where_nothing_is_expected_the_transcript_of_the_agent_decides() -> None:
    turn = changed(ASKED, expected="", heard="")
    assert verdict(call(changed(GREETING, expected="", heard=""), turn)) is None


def test_an_agent_without_a_transcript_is_believed_if_it_answers_as_expected() -> None:
    assert verdict(call(GREETING, changed(ASKED, agent_heard=None))) is None


def test_a_timeline_is_plain_json() -> None:
    document = json.loads(json.dumps(call(GREETING, ASKED).to_json()))
    assert document["turns"][1]["gap_seconds"] == 0.75
    assert document["agent_understood"] is True


def test_what_the_agent_tells_late_of_an_interrupted_answer_belongs_to_that_answer() -> None:
    legs = {"e2e_latency": 0.9}
    accounts = by_turn(
        [
            Record(1.0, RecordKind.SAID, "Hello."),
            Record(3.0, RecordKind.HEARD, "tell me"),
            Record(3.1, RecordKind.TOOL, "opening_hours"),
            Record(7.0, RecordKind.HEARD, "excuse me"),
            Record(7.5, RecordKind.SAID, "We open at", was_interrupted=True, legs_seconds=legs),
            Record(9.0, RecordKind.SAID, "Yes.", was_interrupted=True),
        ],
        turns=[(2.0, False), (6.0, True)],
    )
    assert [account.agent_said for account in accounts] == ["Hello.", "We open at", "Yes."]
    assert [account.agent_heard for account in accounts] == [None, "tell me", "excuse me"]
    assert accounts[1].tools == ("opening_hours",)
    assert accounts[1].legs_seconds == legs


def test_the_gap_runs_from_the_last_voiced_sample_to_the_first_sound() -> None:
    answer = Utterance(13.25, 15.0, text="yes")
    old = Utterance(9.0, 11.5, text="the reading group")
    taken = [
        Taken("", "Hello.", answer=old),
        Taken("Excuse me?", "Yes.", Spoken(11.0, 12.5), interrupted=old, answer=answer),
    ]
    utterances = [old, answer]
    assert heard_in(taken, 0, utterances) == "the reading group"
    account = by_turn([], [(11.0, True)])[1]
    turn = as_turn(taken, 1, heard_in(taken, 1, utterances), account, LINE)
    assert turn.gap_seconds == 0.75
    assert turn.stopped_after_seconds == 0.5
    assert turn.said_from_seconds == 3.0
    assert turn.heard == "yes"
    assert as_turn(taken, 0, "", account, LINE).was_interrupted


def test_an_answer_that_broke_off_and_was_said_again_is_understood() -> None:
    """The process of the agent died in it, and another goes on."""
    taken = [Taken("", "Hello."), Taken("When are you open?", TEN, Spoken(11.0, 12.5))]
    heard = f"On Saturday we are open from ten in the morning {TEN}".lower()
    account = by_turn([], [(11.0, False)])[1]
    for returned_at, is_understood in (([], False), ([10.0], False), ([14.0], True)):
        turn = as_turn(taken, 1, heard, account, Line(returned_at=returned_at))
        assert turn.was_resumed is is_understood
        assert turn.is_understood_by_caller is is_understood


def test_a_silence_lasts_until_the_agent_speaks_anew() -> None:
    done = dataclasses.replace(call(GREETING), sounds_seconds=((1.0, 4.0), (5.5, 8.0)))
    assert done.silence_after(3.0) == 2.5
    assert done.silence_after(6.0) is None


def test_the_silence_around_speech_is_not_speech() -> None:
    silence = bytes(2 * FRAME_SAMPLES) * 3
    voice = (b"\x00\x20" * FRAME_SAMPLES) * 5
    assert voiced_frames(silence + voice + silence) == (3, 7)
    assert voiced_frames(silence) == (0, 2)
    assert SAMPLE_RATE == FRAME_SAMPLES * 100


@pytest.mark.parametrize(("written", "is_well"), [("when are you open", True), ("", False)])
def test_of_an_agent_that_only_writes_the_words_are_judged_and_no_sound(
    written: str, is_well: bool
) -> None:
    silent = changed(ASKED, expected="", heard="", answered_at_seconds=None, wants_sound=False)
    problem = verdict(call(changed(silent, agent_heard=written)))
    assert (problem is None) is is_well

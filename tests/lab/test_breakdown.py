"""Where the time goes: pure arithmetic over timelines and the stand-ins' own account."""

import pytest

from voicefleet.lab import breakdown
from voicefleet.lab.breakdown import Leg, Request
from voicefleet.lab.timeline import Timeline, Turn

DISPATCHED = 1_000.0
GREETING = Turn(said="", expected="Hello.", answered_at_seconds=0.6)
TURN = Turn(
    said="When?",
    expected="Now.",
    said_from_seconds=4.0,
    said_until_seconds=5.0,
    answered_at_seconds=5.7,
    silence_noticed_after_seconds=0.4,
    transcript_after_seconds=0.5,
    legs_seconds={"llm_node_ttft": 0.02, "e2e_latency": 0.45, "end_of_turn_delay": 0.37},
)
CALL = Timeline("room", "agent", "id", DISPATCHED, 0.4, 0.6, 9.0, False, (GREETING, TURN))


def legs_of(*requests: Request) -> dict[str, Leg]:
    return {leg.name: leg for leg in breakdown.legs([CALL], requests)}


def test_each_leg_is_measured_once_a_turn_and_the_greeting_is_no_turn() -> None:
    found = legs_of()
    assert found["dispatch to joined"].seconds == (0.4,)
    assert found["gap: end of speech to answer"].seconds == pytest.approx((0.7,))
    assert found["· LiveKit and the way"].seconds == pytest.approx((0.25,))


def test_a_leg_that_nobody_told_of_is_left_out() -> None:
    assert "· TTS, to first audio" not in legs_of()


def test_the_stand_ins_share_is_that_of_its_last_work_in_the_turn() -> None:
    earlier = Request("openai-llm", "request", 1_004.5, 1_004.9)
    last = Request("openai-llm", "request", 1_005.4, 1_005.41)
    other_turn = Request("openai-llm", "request", 1_007.0, 1_008.0)
    leg = legs_of(last, earlier, other_turn)["· LLM, to first token"]
    assert leg.stand_in_seconds == pytest.approx((0.01,))
    assert leg.without_stand_in == pytest.approx((0.01,))


def test_opening_a_connection_is_not_mistaken_for_work() -> None:
    opened = Request("deepgram", "request", 1_004.5, 1_004.6)
    utterance = Request("deepgram", "utterance", 1_005.0, 1_005.45)
    leg = legs_of(opened, utterance)["· recognition, to transcript"]
    assert leg.stand_in_seconds == pytest.approx((0.45,))


def test_the_table_shows_least_median_and_most() -> None:
    shown = breakdown.table([Leg("join", (0.3, 0.1, 0.2), (0.1, 0.1, 0.1))])
    assert shown.splitlines()[1].split() == [
        "join",
        *["0.100", "0.200", "0.300", "0.100", "0.100"],
        "n=3",
    ]

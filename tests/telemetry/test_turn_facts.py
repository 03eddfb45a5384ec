"""What LiveKit's spans tell of a turn, as they end."""

from opentelemetry.sdk.trace import ReadableSpan

from tests.telemetry.made_spans import span
from voicefleet.telemetry.messages import CallFact, HandedOver, Interrupted, Stalled, TurnTaken
from voicefleet.telemetry.turn_facts import TurnFacts


def told(*spans: ReadableSpan) -> list[CallFact]:
    facts: list[CallFact] = []
    watching = TurnFacts(facts.append)
    for ended in spans:
        watching.ended(ended)
    return facts


def test_the_callers_part_tells_transcript_and_end_of_turn() -> None:
    turn = span("user_turn", lk__transcription_delay=0.3, lk__end_of_turn_delay=0.5)
    assert told(turn) == [TurnTaken(transcript_seconds=0.3, end_of_turn_seconds=0.5)]


def test_a_delay_of_nothing_is_one_that_livekit_does_not_know() -> None:
    assert told(span("user_turn", lk__transcription_delay=0, lk__end_of_turn_delay=0)) == []


def test_the_agents_part_tells_the_request_that_the_caller_heard() -> None:
    """After a tool call the LLM is asked again; LiveKit's own figures are of the second request."""
    facts = told(
        span("llm_node", span_id=2, parent=1, lk__response__ttft=0.9),
        span("llm_node", span_id=3, parent=1, lk__response__ttft=0.1),
        span("tts_node", span_id=4, parent=1, lk__response__ttfb=0.2),
        span("agent_turn", span_id=1, lk__e2e_latency=1.2),
    )
    assert facts == [TurnTaken(first_token_seconds=0.1, first_audio_seconds=0.2, heard_seconds=1.2)]


def test_a_greeting_answers_nobody_and_is_no_turn() -> None:
    assert told(span("tts_node", span_id=2, parent=1), span("agent_turn", span_id=1)) == []


def test_only_a_caller_who_speaks_over_sound_interrupts() -> None:
    assert told(
        span("agent_turn", lk__interruption__source="user_turn", lk__playout__position=2.0)
    ) == [Interrupted()]
    assert told(span("agent_turn", lk__interruption__source="user_turn")) == []
    assert (
        told(span("agent_turn", lk__interruption__source="programmatic", lk__playout__position=2.0))
        == []
    )


def test_a_stall_is_told_with_its_length() -> None:
    assert told(span("event_loop_blocked", seconds=0.25)) == [Stalled(seconds=0.25)]


def test_a_handover_is_told_with_both_agents_however_they_are_named() -> None:
    spans = (
        span("update_agent", lk__previous_agent_label="reception", lk__agent_label="billing"),
        span("update_agent", lk__previous_agent_label="", lk__agent_label="x" * 10_000),
        span("update_agent"),
    )
    first, second, third = told(*spans)
    assert first == HandedOver(from_agent="reception", to_agent="billing")
    assert isinstance(second, HandedOver)
    assert second.from_agent == "unknown"
    assert 0 < len(second.to_agent) < 1_000
    assert third == HandedOver(from_agent="unknown", to_agent="unknown")


def test_an_agent_that_could_not_be_started_was_not_handed_the_call() -> None:
    handed = span(
        "update_agent",
        is_ok=False,
        lk__previous_agent_label="reception",
        lk__agent_label="billing",
    )
    assert told(handed) == []


def test_turns_that_never_end_are_not_remembered_for_ever() -> None:
    facts: list[CallFact] = []
    watching = TurnFacts(facts.append)
    for number in range(1, 1000):
        watching.ended(span("llm_node", span_id=5000, parent=number, lk__response__ttft=0.1))
    watching.ended(span("agent_turn", span_id=1, lk__e2e_latency=1.0))
    assert facts == [TurnTaken(heard_seconds=1.0)]

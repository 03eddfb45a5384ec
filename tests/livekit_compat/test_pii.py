"""LiveKit still marks and removes what a caller said as we rely on."""

from tests.telemetry.made_spans import span
from voicefleet.livekit_compat import pii

SAID = "lk.pii.user_transcript"


def test_livekit_marks_what_a_caller_said_and_no_measurement() -> None:
    assert pii.is_marked_private(SAID)
    assert pii.is_marked_private("gen_ai.input.messages")
    assert not pii.is_marked_private("lk.transcription_delay")


def test_a_redacted_span_has_lost_what_is_marked_and_nothing_else() -> None:
    left = pii.redacted(span("user_turn", lk__pii__user_transcript="Ada", lk__speech_id="speech"))
    assert dict(left.attributes or {}) == {"lk.speech_id": "speech"}
    assert left.name == "user_turn"


def test_every_attribute_that_livekit_may_put_on_a_span_is_listed() -> None:
    names = pii.attribute_names()
    assert len(names) > 100
    assert {SAID, "lk.e2e_latency"} <= names
    assert names >= pii.FREE_TEXT | pii.USELESS

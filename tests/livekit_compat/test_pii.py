"""LiveKit still marks and removes what a caller said as we rely on."""

from tests.livekit_compat.contract import expect
from tests.telemetry.made_spans import span
from voicefleet.livekit_compat import pii

SAID = "lk.pii.user_transcript"


def test_livekit_marks_what_a_caller_said_and_no_measurement() -> None:
    for key in (SAID, "gen_ai.input.messages"):
        expect(
            pii.is_marked_private(key),
            f"LiveKit no longer marks {key} as private: what a caller said would be exported. See"
            " livekit_compat/pii.py and telemetry/private.py",
        )
    expect(
        not pii.is_marked_private("lk.transcription_delay"),
        "LiveKit marks measurements as private: traces would lose them. See livekit_compat/pii.py",
    )


def test_a_redacted_span_has_lost_what_is_marked_and_nothing_else() -> None:
    left = pii.redacted(span("user_turn", lk__pii__user_transcript="Ada", lk__speech_id="speech"))
    expect(
        (left.name, dict(left.attributes or {})) == ("user_turn", {"lk.speech_id": "speech"}),
        "LiveKit's telemetry.pii.redact leaves something else: what a caller said may be exported,"
        f" or a measurement be lost. See livekit_compat/pii.py. It leaves {left.to_json()}",
    )


def test_every_attribute_that_livekit_may_put_on_a_span_is_listed() -> None:
    names = pii.attribute_names()
    expect(
        len(names) > 100 and {SAID, "lk.e2e_latency"} <= names,
        "LiveKit lists its attributes elsewhere than in telemetry/trace_types.py: those that hold"
        " free text are not known any more. See `attribute_names` in livekit_compat/pii.py",
    )
    assert names >= pii.FREE_TEXT | pii.USELESS

"""What LiveKit's log says of the processes that it kills."""

import logging

import pytest

from voicefleet.livekit_compat.kill_reasons import LIVEKIT_LOGGER, KillReason, KillReasons

LIVEKIT = logging.getLogger(LIVEKIT_LOGGER)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("job process exceeded memory limit, killing it", KillReason.MEMORY),
        ("process is unresponsive, killing process", KillReason.UNRESPONSIVE),
        ("process did not exit in time, killing process", KillReason.UNRESPONSIVE),
        ("process exited with non-zero exit code -11", None),
    ],
)
def test_the_cause_of_a_death_is_known_once(said: str, cause: KillReason | None) -> None:
    reasons = KillReasons()
    with reasons.listening():
        LIVEKIT.error(said, extra={"pid": 7})
    assert (reasons.pop(8), reasons.pop(7), reasons.pop(7)) == (None, cause, None)


def test_a_record_of_any_shape_passes_and_is_no_error() -> None:
    reasons = KillReasons()
    with reasons.listening():
        LIVEKIT.error(RuntimeError("no text"), extra={"pid": "seven"})
        LIVEKIT.error("%s", "process is unresponsive, killing process")
        LIVEKIT.warning("process is unresponsive, killing process", extra={"pid": 7})
    LIVEKIT.error("process is unresponsive, killing process", extra={"pid": 7})
    assert reasons.pop(7) is None


def test_a_death_is_known_where_only_what_is_critical_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every call that LiveKit killed counted as crashed then, and no alert spoke of memory."""
    reasons = KillReasons()
    caplog.set_level(logging.CRITICAL, LIVEKIT_LOGGER)
    with reasons.listening():
        LIVEKIT.error("process is unresponsive, killing process", extra={"pid": 7})
    assert reasons.pop(7) is KillReason.UNRESPONSIVE
    assert not caplog.records
    assert LIVEKIT.level == logging.CRITICAL

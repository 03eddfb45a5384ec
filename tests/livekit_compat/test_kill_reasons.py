"""What LiveKit's log says of the processes that it kills."""

import logging

import pytest
from livekit.agents.ipc import supervised_proc
from livekit.agents.log import logger as livekits_own

from tests.livekit_compat.contract import expect, expect_in_source
from voicefleet.livekit_compat.kill_reasons import (
    LIVEKIT_LOGGER,
    SENTENCES,
    KillReason,
    KillReasons,
)

LIVEKIT = logging.getLogger(LIVEKIT_LOGGER)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_livekit_still_says_so_of_a_process_that_it_kills(sentence: str) -> None:
    """`test_job_process.py` has real processes killed."""
    expect_in_source(
        supervised_proc,
        f'{sentence}"',
        f"LiveKit's ipc/supervised_proc.py no longer says {sentence!r}: a call that it kills so"
        " counts as crashed. Find the new words, and change livekit_compat/kill_reasons.py",
    )


def test_livekit_says_it_by_the_logger_that_we_listen_to() -> None:
    expect(
        livekits_own.name == LIVEKIT_LOGGER,
        f"LiveKit's logger is now {livekits_own.name!r}: every call that LiveKit kills counts as"
        " crashed, and the level of its log is not set. See LIVEKIT_LOGGER in"
        " livekit_compat/kill_reasons.py",
    )


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("job process exceeded memory limit, killing it", KillReason.MEMORY),
        ("process is unresponsive, killing process", KillReason.UNRESPONSIVE),
        ("process did not exit in time, killing process", KillReason.END_CUT_OFF),
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

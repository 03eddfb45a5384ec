"""What is written: no secret, nothing of the caller unless allowed, and the call's trace."""

import logging
from typing import Any

import pytest

from voicefleet.telemetry import call_ids
from voicefleet.telemetry.logs import HIDDEN, RedactingFilter

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJpZGVudGl0eSI6Ing0In0.c2lnbmF0dXJlLW9mLWl0"
KNOWN = "hunter2-hunter2"


def written(
    message: str = "event", *arguments: object, allow_pii: bool = False, **extra: Any
) -> logging.LogRecord:
    record = logging.LogRecord("name", logging.INFO, "f.py", 1, message, arguments, None)
    vars(record).update(extra)
    assert RedactingFilter(allow_pii=allow_pii, secrets=[KNOWN, "abc"]).filter(record)
    return record


def everything(record: logging.LogRecord) -> str:
    return f"{record.getMessage()} {vars(record)}"


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("connecting with %s", (KNOWN,)),
        (f"GET wss://host/rtc?access_token={JWT}&auto_subscribe=1", ()),
        ("headers: Authorization: Bearer sk-live-0123456789", ()),
        ("key=api_key=0123456789abcdef", ()),
    ],
)
def test_a_secret_is_hidden_wherever_in_the_message_it_stands(
    message: str, arguments: tuple[object, ...]
) -> None:
    text = everything(written(message, *arguments))
    assert HIDDEN in text
    for secret in (KNOWN, JWT, "sk-live-0123456789", "0123456789abcdef"):
        assert secret not in text


def test_a_secret_is_hidden_in_fields_however_deep_and_in_an_exception() -> None:
    record = written(
        headers={"Authorization": "Basic 0123456789"}, deep=[{"x": f"a {KNOWN} b"}], my_password=9
    )
    assert KNOWN not in everything(record)
    assert "0123456789" not in everything(record)
    assert vars(record)["my_password"] == HIDDEN
    try:
        raise ValueError(f"refused {KNOWN}")
    except ValueError as error:
        failed = logging.LogRecord("n", 40, "f", 1, "no", (), (ValueError, error, None))
    RedactingFilter(allow_pii=False, secrets=[KNOWN]).filter(failed)
    assert "refused" in str(failed.exc_text)
    assert KNOWN not in logging.Formatter().format(failed)


CALLERS: dict[str, Any] = {
    "lk.pii.user_transcript": "I want to fly",
    "participant": "sip_+491701234567",
    "room": "call-of-jane",
    "sip.phoneNumber": "+491701234567",
    "participant_identity": "jane",
    "attributes": {"sip.phoneNumber": "+491701234567"},
}


def test_what_a_caller_said_is_called_or_dials_from_is_absent() -> None:
    text = everything(written(room_id="RM_1", transcript_delay=0.3, **CALLERS))
    for word in ("fly", "4917", "jane"):
        assert word not in text
    assert "RM_1" in text
    assert "transcript_delay" in text


def test_where_it_is_allowed_it_stands_under_one_mark() -> None:
    fields = vars(written(allow_pii=True, **CALLERS))
    assert fields["pii.user_transcript"] == "I want to fly"
    assert fields["pii.participant"] == "sip_+491701234567"
    assert "participant" not in fields
    assert "lk.pii.user_transcript" not in fields


def test_a_record_of_a_call_names_its_trace() -> None:
    record = written(job_id="AJ_1")
    assert vars(record)["trace_id"] == call_ids.trace_id_text("AJ_1")
    assert "trace_id" not in vars(written())


def test_arguments_that_do_not_fit_are_no_error_of_whoever_logs_and_are_not_shown() -> None:
    record = written("got %d of %s", KNOWN)
    assert "do not fit" in record.getMessage()
    assert KNOWN not in everything(record)

"""A call's report: what it says, how it travels, and that nothing of it is lost in silence."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from voicefleet import errors
from voicefleet.telemetry.call_report import (
    LONGEST_HISTORY_CHARACTERS,
    MOST_TURNS,
    CallRecord,
    CallTotals,
    document,
)
from voicefleet.telemetry.delivery_queue import RefusedError
from voicefleet.telemetry.logs import RedactingFilter
from voicefleet.telemetry.messages import (
    Cause,
    Fallback,
    HandedOver,
    Interrupted,
    Outcome,
    ProviderError,
    Said,
    Stalled,
    TurnTaken,
    Usage,
)
from voicefleet.telemetry.reports import (
    POLICY,
    Address,
    Directory,
    Report,
    Reports,
    queue_to,
    require_directory,
)

CALL = CallRecord(
    job_id="AJ_one",
    room_id="RM_one",
    agent_name="assistant",
    outcome=Outcome.FAILED,
    cause=Cause.CRASHED,
    offered_at=1_800_000_000.0,
    ended_at=1_800_000_031.0,
    accepted_at=1_800_000_000.1,
    joined_at=1_800_000_000.4,
)


# As in a pod, with short pauses.
QUICK = replace(POLICY, first_pause_seconds=0.01, longest_pause_seconds=0.02)


def totals_of(*facts: Any, keeps_history: bool = False) -> CallTotals:
    totals = CallTotals(keeps_history=keeps_history)
    for fact in facts:
        totals.add(fact)
    return totals


def report(job_id: str = "AJ_one") -> Report:
    return {"job_id": job_id, "outcome": "completed"}


def test_a_report_tells_how_the_call_went_from_the_offer_to_the_end() -> None:
    facts = (
        TurnTaken(transcript_seconds=0.3, end_of_turn_seconds=0.5),
        TurnTaken(first_token_seconds=0.1, first_audio_seconds=0.2, heard_seconds=0.8),
        TurnTaken(transcript_seconds=0.5, end_of_turn_seconds=0.7),
        TurnTaken(heard_seconds=1.2),
        Interrupted(),
        Usage(kind="llm", provider="openai", model="small", input_tokens=7, output_tokens=2),
        Usage(kind="llm", provider="openai", model="small", input_tokens=3),
        Usage(kind="tts", provider="cartesia", model="sonic", characters=9, audio_seconds=1.5),
        ProviderError(kind="tts", provider="cartesia", recoverable=True),
        ProviderError(kind="tts", provider="cartesia", recoverable=True),
        Fallback(kind="tts", provider="cartesia"),
        HandedOver(from_agent="reception", to_agent="billing"),
        HandedOver(from_agent="reception", to_agent="billing"),
        Stalled(seconds=0.25),
    )
    said = document(CALL, 30.6, totals_of(*facts))
    assert (said["outcome"], said["cause"]) == ("failed", "crashed")
    assert said["offered_at"] == "2027-01-15T08:00:00.000+00:00"
    assert said["joined_at"] == "2027-01-15T08:00:00.400+00:00"
    assert (said["join_seconds"], said["seconds"]) == (0.4, 30.6)
    assert said["turns"]["count"] == 2
    assert said["turns"]["legs"]["heard_seconds"] == {"count": 2, "p50": 1.0, "max": 1.2}
    assert said["turns"]["legs"]["first_token_seconds"] == {"count": 1, "p50": 0.1, "max": 0.1}
    assert said["turns"]["each"][1] == {
        "transcript_seconds": 0.5,
        "end_of_turn_seconds": 0.7,
        "heard_seconds": 1.2,
    }
    assert said["interruptions"] == 1
    assert said["handovers"] == [{"from": "reception", "to": "billing", "count": 2}]
    assert said["usage"] == [
        {"kind": "llm", "provider": "openai", "model": "small"}
        | {"input_tokens": 10, "output_tokens": 2},
        {"kind": "tts", "provider": "cartesia", "model": "sonic"}
        | {"characters": 9, "audio_seconds": 1.5},
    ]
    assert said["provider_errors"] == [
        {"kind": "tts", "provider": "cartesia", "is_final": "no", "count": 2}
    ]
    assert said["fallbacks"] == [{"kind": "tts", "provider": "cartesia", "count": 1}]
    assert said["stalls"] == {"count": 1, "longest_seconds": 0.25}
    json.dumps(said)


def test_what_was_said_is_in_the_report_only_where_it_is_allowed() -> None:
    line = Said(by="caller", text="My name is Ada.")
    assert "Ada" not in json.dumps(document(CALL, 1.0, totals_of(line)))
    allowed = document(CALL, 1.0, totals_of(line, keeps_history=True))
    assert allowed["pii.history"] == [{"by": "caller", "text": "My name is Ada."}]


def test_nothing_of_a_report_but_what_was_said_is_taken_out_of_the_log() -> None:
    """The log drops private keys; one of ours that looks like one would be lost there."""
    line = Said(by="caller", text="My name is Ada.")
    turn = TurnTaken(transcript_seconds=0.3)
    used = Usage(kind="llm", provider="openai", model="small", input_tokens=1)
    failed = ProviderError(kind="llm", provider="openai", recoverable=False)
    said = document(CALL, 1.0, totals_of(line, turn, used, failed, keeps_history=True))
    for allow_pii in (False, True):
        record = logging.makeLogRecord({"msg": "call report", "report": said})
        RedactingFilter(allow_pii=allow_pii, secrets=()).filter(record)
        lost = {} if allow_pii else {"pii.history": said["pii.history"]}
        assert vars(record)["report"] | lost == said


def test_a_call_that_never_stops_talking_is_kept_within_bounds() -> None:
    totals = CallTotals(keeps_history=True)
    for number in range(5000):
        totals.add(TurnTaken(transcript_seconds=0.1))
        totals.add(TurnTaken(heard_seconds=0.2))
        totals.add(Said(by="caller", text="x" * 1000))
        totals.add(Usage(kind="llm", provider="p", model=f"m{number}", input_tokens=1))
        totals.add(ProviderError(kind="llm", provider=f"p{number}", recoverable=True))
    said = document(CALL, 1.0, totals)
    assert said["turns"]["count"] == 5000
    assert len(said["turns"]["each"]) == MOST_TURNS
    assert said["history_left_out_characters"] >= 5_000_000 - LONGEST_HISTORY_CHARACTERS
    assert len(json.dumps(said)) < 200_000
    assert sum(used["input_tokens"] for used in said["usage"]) == 5000


def test_a_file_a_call_whole_or_not_at_all(tmp_path: Path) -> None:
    Directory(tmp_path).deliver(report() | {"job_id": "../AJ one"})
    Directory(tmp_path).deliver(report())
    assert sorted(p.name for p in tmp_path.iterdir()) == [".._AJ_one.json", "AJ_one.json"]
    assert json.loads((tmp_path / "AJ_one.json").read_text()) == report()


def test_a_directory_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    require_directory(None)
    require_directory(tmp_path)
    with pytest.raises(errors.SettingsError, match=r"VOICEFLEET_REPORT_DIR.*No such file"):
        require_directory(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(errors.SettingsError, match="cannot be written"):
        require_directory(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@contextmanager
def receiving(*answers: int) -> Iterator[tuple[str, list[Any]]]:
    """An address that answers each POST with the next of these, and then with 200."""
    codes, taken = list(answers), list[Any]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = codes.pop(0) if codes else 200
            if code == 200:
                taken.append((self.headers["Authorization"], json.loads(body)))
            self.send_response(code)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Be quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/calls", taken
        server.shutdown()
        serving.join()


def lost(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (vars(record)["report"]["job_id"], vars(record)["reason"])
        for record in caplog.records
        if record.msg == "call report not delivered"
    ]


def test_a_receiver_that_is_ill_gets_every_report_when_it_is_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with receiving(503, 429, 500) as (url, taken):
        queue = queue_to(Address(url, "hunter2"), QUICK)
        for number in range(3):
            queue.add([report(f"AJ_{number}")])
        assert queue.flush(5)
        assert queue.close(5)
    assert taken == [("Bearer hunter2", report(f"AJ_{n}")) for n in range(3)]
    assert lost(caplog) == []


@pytest.mark.parametrize("code", [400, 404, 413, 302])
def test_a_report_that_is_refused_is_written_to_the_log_and_holds_up_no_other(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving(code) as (url, taken):
        queue = queue_to(Address(url))
        queue.add([report("AJ_bad")])
        queue.add([report("AJ_good")])
        assert queue.close(5)
    assert taken == [(None, report("AJ_good"))]
    assert lost(caplog) == [("AJ_bad", f"HTTP {code}")]


def test_where_nobody_listens_nothing_waits_and_the_log_has_it_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with receiving() as (url, _):
        pass
    queue = queue_to(Address(url), replace(QUICK, most_waiting=5))
    for number in range(8):
        queue.add([report(f"AJ_{number}")])
    began = time.monotonic()
    assert not queue.close(2)
    assert time.monotonic() - began < 1.0
    assert sorted(lost(caplog)) == [
        (f"AJ_{n}", "the queue is full" if n < 3 else "the pod stops") for n in range(8)
    ]


class Hanging:
    """A place that takes nothing and does not say so, until it is released."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def deliver(self, report: Report) -> None:
        self.release.wait(10)
        raise RefusedError("at last")


def test_places_that_hang_delay_the_exit_by_two_seconds_in_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    places = [Hanging(), Hanging()]
    reports = Reports(places)
    began = time.monotonic()
    with caplog.at_level(logging.INFO):
        reports.call_ended(CALL, 1.0, CallTotals())
        assert time.monotonic() - began < 0.5
        reports.close()
    assert time.monotonic() - began < 3.0
    assert lost(caplog) == [("AJ_one", "the pod stops")] * 2
    assert [r.msg for r in caplog.records].count("call report") == 1
    for place in places:
        place.release.set()

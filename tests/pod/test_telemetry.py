"""What the pod shows of its calls, whatever the calls, the collector and the kernel do."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from voicefleet.pod import telemetry
from voicefleet.pod.calls import CallTable, EndedCall
from voicefleet.pod.telemetry import PodTelemetry, watch_for_stalls
from voicefleet.telemetry.call_report import CallRecord, CallTotals
from voicefleet.telemetry.messages import (
    OUTCOMES,
    Cause,
    PrewarmFailed,
    Spans,
    Stalled,
)
from voicefleet.telemetry.metrics import PodInfo, PodReading
from voicefleet.telemetry.span_wire import MalformedSpansError


@dataclass
class Traces:
    """A collector's side of it, with the order in which it heard."""

    ended: list[CallRecord] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    closed: int = 0
    fails: bool = False

    def accept(self, spans: Spans) -> None:
        if spans.data == "nonsense":
            raise MalformedSpansError("no spans")
        self.taken.append(spans.data)

    def call_ended(self, record: CallRecord) -> None:
        if self.fails:
            raise TypeError("a defect of the tracing")
        self.ended.append(record)

    def close(self) -> None:
        self.closed += 1


@dataclass
class Reports:
    ended: list[tuple[str, float]] = field(default_factory=list)
    closed_on: threading.Thread | None = None

    def call_ended(self, record: CallRecord, seconds: float, totals: CallTotals) -> None:
        self.ended.append((record.job_id, seconds))

    def close(self) -> None:
        self.closed_on = threading.current_thread()


class Shown:
    """The telemetry of a pod whose processes are `pids`, by slot."""

    def __init__(self, *, has_collector: bool = True) -> None:
        self.traces, self.reports = Traces(), Reports()
        self.pids: dict[int, int] = {}
        self.of = PodTelemetry(
            PodInfo("1", "desk", "1"),
            self._reading,
            lambda: self.pids,
            self.traces if has_collector else None,  # type: ignore[arg-type]
            self.reports,  # type: ignore[arg-type]
        )

    def _reading(self, memory_bytes: Mapping[int, int]) -> PodReading:
        return PodReading(0, 0, 0, 2, "ready", call_memory_bytes=memory_bytes)

    async def metric(self, name: str, **labels: str) -> float | None:
        """The sum of the series that have these labels; None without one."""
        text, _ = await self.of.scrape("")
        found = [
            sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(found) if found else None


def record(cause: Cause, *, launched_at: float | None = None) -> CallRecord:
    return CallRecord(
        "AJ_1", "RM_1", "desk", OUTCOMES[cause], cause, 1.0, 9.0, launched_at=launched_at
    )


def ended(cause: Cause, *, launched_at: float | None = 2.0) -> EndedCall:
    return EndedCall(record(cause, launched_at=launched_at), 7.0, CallTotals())


async def test_a_call_that_ended_is_in_metrics_trace_report_and_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    shown = Shown()
    shown.of.ended(ended(Cause.CALLER_LEFT))
    shown.of.ended(ended(Cause.CRASHED))
    assert [one.cause for one in shown.traces.ended] == [Cause.CALLER_LEFT, Cause.CRASHED]
    assert shown.reports.ended == [("AJ_1", 7.0), ("AJ_1", 7.0)]
    assert await shown.metric("voicefleet_calls_total", outcome="failed", cause="crashed") == 1
    assert await shown.metric("voicefleet_call_seconds_count") == 2
    levels = [r.levelno for r in caplog.records if r.msg == "call over"]
    assert levels == [logging.INFO, logging.ERROR]


async def test_a_call_that_never_began_has_no_length() -> None:
    """A length of 0 for each would have drawn every percentile of call length down."""
    shown = Shown()
    shown.of.ended(ended(Cause.NOT_ASSIGNED, launched_at=None))
    assert await shown.metric("voicefleet_calls_total", cause="not_assigned") == 1
    assert not await shown.metric("voicefleet_call_seconds_count")


async def test_a_refused_call_has_a_span_and_no_report() -> None:
    shown = Shown()
    shown.of.refused(record(Cause.NO_SLOT))
    assert [one.cause for one in shown.traces.ended] == [Cause.NO_SLOT]
    assert shown.reports.ended == []
    assert await shown.metric("voicefleet_calls_total", outcome="refused") == 1


async def test_without_a_collector_all_the_rest_is_shown() -> None:
    shown = Shown(has_collector=False)
    async with shown.of.showing():
        shown.of.observe(None, Spans(data="nonsense"))
        shown.of.refused(record(Cause.NO_SLOT))
        shown.of.ended(ended(Cause.CALLER_LEFT))
        assert await shown.metric("voicefleet_calls_total") == 2
        assert not await shown.metric("voicefleet_events_rejected_total")
    assert shown.reports.ended == [("AJ_1", 7.0)]


async def test_a_defect_in_the_tracing_ends_neither_the_call_nor_the_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shown = Shown()
    shown.traces.fails = True
    shown.of.refused(record(Cause.NO_SLOT))
    shown.of.ended(ended(Cause.CALLER_LEFT))
    assert await shown.metric("voicefleet_calls_total") == 2
    assert "a defect of the tracing" in caplog.text


async def test_spans_of_a_call_go_to_the_collector_and_nonsense_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shown = Shown()
    shown.of.observe(None, Spans(data="good"))
    shown.of.observe(None, Spans(data="nonsense"))
    shown.of.not_understood()
    assert shown.traces.taken == ["good"]
    assert await shown.metric("voicefleet_events_rejected_total") == 2
    assert [r.levelno for r in caplog.records] == [logging.WARNING]


async def test_what_a_process_tells_is_summed_up_for_its_call_if_it_has_one() -> None:
    shown = Shown()
    call = CallTable(1, 1).offer("AJ_1", "RM_1")
    assert call is not None
    shown.of.observe(call, Stalled(seconds=0.5))
    shown.of.observe(None, PrewarmFailed(error="no weights"))
    assert call.totals.stalls == 1
    assert await shown.metric("voicefleet_prewarm_failures_total") == 1


async def test_the_last_spans_and_reports_are_sent_when_the_pod_ends_and_not_on_its_loop() -> None:
    """Each may take two seconds, in which the last probe would go without an answer."""
    shown = Shown()
    async with shown.of.showing():
        assert shown.traces.closed == 0
    assert shown.traces.closed == 1
    assert shown.reports.closed_on not in (None, threading.main_thread())
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "watch for stalls"]


async def test_a_loop_that_comes_back_late_is_counted_and_one_in_time_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telemetry, "LOOK_EVERY_SECONDS", 0.01)
    stalls = list[float]()
    watching = asyncio.create_task(watch_for_stalls(lambda: stalls.append(time.monotonic())))
    await asyncio.sleep(0.02)
    before = len(stalls)
    time.sleep(telemetry.STALL_SECONDS * 3)  # noqa: ASYNC251 — what is tested
    await asyncio.sleep(0.02)
    watching.cancel()
    assert len(stalls) == before + 1


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells the PSS")
async def test_the_memory_of_each_call_that_lives_is_shown_by_its_slot() -> None:
    shown = Shown()
    gone = await asyncio.create_subprocess_exec("true")
    await gone.wait()
    shown.pids = {0: os.getpid(), 3: gone.pid}
    mine = await shown.metric("voicefleet_call_memory_bytes", slot="0")
    assert mine is not None
    assert 1024 * 1024 < mine < 2**40
    assert await shown.metric("voicefleet_call_memory_bytes", slot="3") is None


async def test_a_scrape_does_not_wait_for_a_kernel_that_hangs_and_shows_what_was_read_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telemetry, "MEMORY_WITHIN_SECONDS", 0.05)
    release, reads = threading.Event(), list[int]()
    monkeypatch.setattr(telemetry, "_memory_bytes", lambda _: {0: 5})
    shown = Shown()
    assert await shown.metric("voicefleet_call_memory_bytes", slot="0") == 5

    def hang(_: object) -> dict[int, int]:
        reads.append(1)
        release.wait(10)
        return {0: 7}

    monkeypatch.setattr(telemetry, "_memory_bytes", hang)
    try:
        for _ in range(3):
            assert await shown.metric("voicefleet_call_memory_bytes", slot="0") == 5
        # One read at a time: those that hang would be more and more.
        assert len(reads) == 1
    finally:
        release.set()


async def test_a_memory_that_cannot_be_read_fails_no_scrape(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> dict[int, int]:
        raise ValueError("a kernel of another kind")

    monkeypatch.setattr(telemetry, "_memory_bytes", fail)
    shown = Shown()
    shown.of.taken()
    assert await shown.metric("voicefleet_calls_taken_total") == 1
    assert "a kernel of another kind" in caplog.text

"""The pod's queue: patient with an ill collector, and never in anyone's way."""

import threading
import time
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.telemetry.made_spans import span
from voicefleet.telemetry import delivery_queue as outbox_module
from voicefleet.telemetry.delivery_queue import Outbox


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "SEND_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(outbox_module, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(outbox_module, "LONGEST_PAUSE_SECONDS", 0.02)


class Collector(SpanExporter):
    """Takes spans while it is well, and never one of a name that it does not like."""

    def __init__(self) -> None:
        self.is_well = True
        self.attempts = 0
        self.taken: list[int] = []
        self.release = threading.Event()
        self.release.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.attempts += 1
        self.release.wait(5)
        if not self.is_well or any(s.name == "poison" for s in spans):
            return SpanExportResult.FAILURE
        self.taken += [s.context.span_id for s in spans if s.context]
        return SpanExportResult.SUCCESS


def test_what_fits_the_queue_survives_a_collector_that_is_down() -> None:
    collector = Collector()
    collector.is_well = False
    outbox = Outbox(collector, most=1000)
    for number in range(1, 101):
        outbox.add([span(span_id=number)])
    assert not outbox.flush(0.1)
    collector.is_well = True
    assert outbox.flush(5)
    assert sorted(collector.taken) == list(range(1, 101))
    assert outbox.dropped == 0


def test_beyond_the_queue_the_oldest_go_and_are_counted() -> None:
    collector = Collector()
    collector.is_well = False
    outbox = Outbox(collector, most=10)
    outbox.add([span(span_id=number) for number in range(1, 26)])
    outbox.flush(0.1)
    collector.is_well = True
    assert outbox.flush(5)
    assert sorted(collector.taken) == list(range(16, 26))
    assert outbox.dropped == 15


def test_a_hanging_collector_keeps_nobody_waiting() -> None:
    collector = Collector()
    collector.release.clear()
    outbox = Outbox(collector, most=1000)
    began = time.monotonic()
    outbox.add([span()])
    assert time.monotonic() - began < 0.1
    assert not outbox.close(0.2)
    assert time.monotonic() - began < 1.0
    collector.release.set()


def test_a_batch_that_the_collector_never_takes_does_not_stop_the_others() -> None:
    collector = Collector()
    outbox = Outbox(collector, most=1000)
    outbox.add([span("poison", span_id=1)])
    for number in range(2, 40):
        time.sleep(0.02)
        outbox.add([span(span_id=number)])
    assert outbox.flush(5)
    assert sorted(collector.taken) == list(range(2, 40))
    assert outbox.dropped == 1


def test_an_empty_outbox_is_closed_at_once_and_sends_nothing() -> None:
    collector = Collector()
    began = time.monotonic()
    assert Outbox(collector, most=10).close(2)
    assert time.monotonic() - began < 0.5
    assert collector.attempts == 0

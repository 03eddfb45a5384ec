"""The queue to a receiver: patient when it is away, and never in anyone's way."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.telemetry.made_spans import span
from voicefleet.telemetry import pod_traces
from voicefleet.telemetry.delivery_queue import DeliveryQueue, Policy, RefusedError

# Batches of many, sent early, with short pauses.
QUICK = Policy(
    most_waiting=1000,
    largest_batch=512,
    send_every_seconds=0.01,
    first_pause_seconds=0.01,
    longest_pause_seconds=0.02,
)
# A pause that nobody in a test waits for.
AGES = 600.0

POISON = -1
REFUSED = -2


class Receiver:
    """Takes items while it is up, fails for `POISON` and refuses `REFUSED`."""

    def __init__(self) -> None:
        self.is_up = True
        self.attempts = 0
        self.taken: list[int] = []
        self.batches: list[int] = []
        self.answers = threading.Event()
        self.answers.set()

    def deliver(self, items: list[int]) -> None:
        self.attempts += 1
        self.answers.wait(10)
        if REFUSED in items:
            raise RefusedError("not this one")
        if not self.is_up or POISON in items:
            raise OSError("down")
        self.taken += items
        self.batches.append(len(items))


GivenUp = list[tuple[list[int], str]]
Begin = Callable[[Policy], DeliveryQueue[int]]


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def given_up() -> GivenUp:
    return []


@pytest.fixture
def begin(receiver: Receiver, given_up: GivenUp) -> Iterator[Begin]:
    """A queue to the receiver; its thread ends with the test."""
    queues: list[DeliveryQueue[int]] = []

    def begin(policy: Policy) -> DeliveryQueue[int]:
        queue = DeliveryQueue(
            "test", receiver.deliver, policy, lambda items, reason: given_up.append((items, reason))
        )
        queues.append(queue)
        return queue

    yield begin
    receiver.answers.set()
    for queue in queues:
        queue.close(5)


def wait_until(is_so: Callable[[], bool], because: str) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline, because
        time.sleep(0.005)


def test_what_fits_the_queue_survives_a_receiver_that_is_down(
    begin: Begin, receiver: Receiver
) -> None:
    receiver.is_up = False
    queue = begin(QUICK)
    for number in range(100):
        queue.add([number])
    assert not queue.flush(0.1)
    receiver.is_up = True
    assert queue.flush(5)
    assert sorted(receiver.taken) == list(range(100))
    assert queue.dropped == 0


def test_beyond_the_queue_the_oldest_are_given_up_and_counted(
    begin: Begin, receiver: Receiver, given_up: GivenUp
) -> None:
    receiver.is_up = False
    queue = begin(replace(QUICK, most_waiting=10))
    queue.add(range(25))
    queue.flush(0.1)
    receiver.is_up = True
    assert queue.flush(5)
    assert sorted(receiver.taken) == list(range(15, 25))
    assert queue.dropped == 15
    assert given_up == [(list(range(15)), "the queue is full")]


def test_the_oldest_are_those_that_have_failed_before(
    begin: Begin, receiver: Receiver, given_up: GivenUp
) -> None:
    receiver.is_up = False
    queue = begin(replace(QUICK, most_waiting=4, first_pause_seconds=AGES))
    queue.add([0, 1, 2])
    wait_until(lambda: receiver.attempts == 1, "the first batch is tried")
    queue.add([3, 4, 5])
    wait_until(lambda: queue.dropped == 2, "two are too many")
    receiver.is_up = True
    assert queue.close(5)
    assert given_up == [([0, 1], "the queue is full")]
    assert sorted(receiver.taken) == [2, 3, 4, 5]


def test_a_hanging_receiver_keeps_nobody_waiting(
    begin: Begin, receiver: Receiver, given_up: GivenUp
) -> None:
    receiver.answers.clear()
    queue = begin(QUICK)
    began = time.monotonic()
    queue.add([1])
    assert time.monotonic() - began < 0.1
    wait_until(lambda: receiver.attempts == 1, "the batch is on its way")
    assert not queue.close(0.2)
    assert time.monotonic() - began < 5.0
    assert given_up == [([1], "the pod stops")]


def test_a_batch_that_fails_while_others_get_through_is_given_up(
    begin: Begin, receiver: Receiver, given_up: GivenUp
) -> None:
    queue = begin(QUICK)
    queue.add([POISON])
    for number in range(40):
        time.sleep(0.02)
        queue.add([number])
    assert queue.flush(5)
    assert sorted(receiver.taken) == list(range(40))
    assert queue.dropped == 1
    assert given_up == [([POISON], "down")]


def test_a_refused_batch_is_given_up_at_once_and_needs_no_pause(
    begin: Begin, receiver: Receiver, given_up: GivenUp
) -> None:
    queue = begin(Policy(most_waiting=10, first_pause_seconds=AGES))
    queue.add([REFUSED, 1])
    assert queue.flush(5)
    assert receiver.taken == [1]
    assert given_up == [([REFUSED], "not this one")]
    assert queue.dropped == 1


def test_an_empty_queue_is_closed_at_once_and_sends_nothing(
    begin: Begin, receiver: Receiver
) -> None:
    began = time.monotonic()
    assert begin(QUICK).close(5)
    assert time.monotonic() - began < 2.0
    assert receiver.attempts == 0


def test_a_receiver_that_is_down_is_not_asked_again_before_the_pause_is_over(
    begin: Begin, receiver: Receiver
) -> None:
    """Without the pause it would be asked as fast as the processor can, also by a flush."""
    receiver.is_up = False
    queue = begin(Policy(most_waiting=10, first_pause_seconds=AGES, longest_pause_seconds=AGES))
    queue.add([1])
    wait_until(lambda: receiver.attempts == 1, "the first attempt")
    queue.add([2])
    assert not queue.flush(0.2)
    assert receiver.attempts == 1


def test_pauses_grow_with_the_failures_and_start_again_after_a_success(
    begin: Begin, receiver: Receiver
) -> None:
    receiver.is_up = False
    queue = begin(replace(QUICK, first_pause_seconds=0.01, longest_pause_seconds=AGES))
    queue.add([1])
    assert not queue.flush(0.5)
    # 0.01 + 0.02 + … + 0.32 are more than the half second; without growth it would be fifty.
    assert receiver.attempts <= 8
    receiver.is_up = True
    assert queue.flush(10)
    # Twenty failures without a success between them would pause for hours.
    for number in range(10):
        receiver.is_up = False
        so_far = receiver.attempts
        queue.add([number])
        wait_until(lambda n=so_far: receiver.attempts >= n + 2, "short pauses again")  # type: ignore[misc]
        receiver.is_up = True
        assert queue.flush(5)


def test_closing_does_not_wait_for_the_pause_but_tries_once_more(
    begin: Begin, receiver: Receiver, given_up: GivenUp
) -> None:
    receiver.is_up = False
    queue = begin(Policy(most_waiting=10, first_pause_seconds=AGES, longest_pause_seconds=AGES))
    queue.add([1])
    wait_until(lambda: receiver.attempts == 1, "the first attempt")
    began = time.monotonic()
    assert not queue.close(10)
    assert time.monotonic() - began < 5.0
    assert receiver.attempts == 2
    assert given_up == [([1], "the pod stops")]


def test_a_batch_that_is_never_taken_does_not_keep_the_others_from_going_at_the_end(
    begin: Begin, receiver: Receiver, given_up: GivenUp
) -> None:
    policy = replace(QUICK, first_pause_seconds=AGES, largest_batch=2)
    queue = begin(replace(policy, send_every_seconds=AGES, longest_pause_seconds=AGES))
    queue.add([POISON, POISON])
    wait_until(lambda: receiver.attempts == 1, "the first attempt")
    queue.add([1, 2, 3])
    queue.close(10)
    assert sorted(receiver.taken) == [1, 2, 3]
    assert [items for items, _ in given_up] == [[POISON, POISON]]


def test_after_a_flush_items_wait_for_a_full_batch_again(begin: Begin, receiver: Receiver) -> None:
    """A flush that was never forgotten sent every item in a request of its own."""
    queue = begin(replace(QUICK, largest_batch=3, send_every_seconds=AGES))
    queue.add([1])
    assert queue.flush(5)
    queue.add([2])
    queue.add([3])
    time.sleep(0.1)
    assert receiver.batches == [1]
    queue.add([4])
    wait_until(lambda: receiver.batches == [1, 3], "a full batch is sent at once")


def test_after_a_flush_that_did_not_end_items_wait_for_a_full_batch_again(
    begin: Begin, receiver: Receiver
) -> None:
    receiver.is_up = False
    queue = begin(replace(QUICK, largest_batch=3, send_every_seconds=AGES))
    queue.add([1])
    assert not queue.flush(0.1)
    receiver.is_up = True
    wait_until(lambda: receiver.batches == [1], "what has failed is tried without a flush")
    queue.add([2])
    time.sleep(0.1)
    assert receiver.batches == [1]


def test_an_incomplete_batch_is_sent_when_its_time_is_over(
    begin: Begin, receiver: Receiver
) -> None:
    queue = begin(replace(QUICK, send_every_seconds=0.05))
    queue.add([1])
    wait_until(lambda: receiver.batches == [1], "nobody flushes")


def test_what_is_added_after_the_end_is_given_up_and_not_kept(
    begin: Begin, given_up: GivenUp
) -> None:
    queue = begin(QUICK)
    assert queue.close(5)
    queue.add([1])
    assert given_up == [([1], "the queue is closed")]


def test_that_the_receiver_is_away_and_back_is_logged_once_a_change(
    begin: Begin, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    receiver.is_up = False
    queue = begin(QUICK)
    queue.add([1])
    wait_until(lambda: receiver.attempts >= 3, "several attempts")
    receiver.is_up = True
    assert queue.flush(5)
    wait_until(lambda: len(caplog.records) >= 2, "both changes are logged")
    away, back = caplog.records
    assert (away.msg, back.msg) == ("receiver not available", "receiver available again")
    assert vars(away)["queue"] == "test"
    assert vars(away)["error"] == "OSError: down"


class Exporter(SpanExporter):
    """Answers as it is told to."""

    def __init__(self, *answers: SpanExportResult | Exception) -> None:
        self.answers = list(answers)
        self.taken: list[int] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        answer = self.answers.pop(0) if self.answers else SpanExportResult.SUCCESS
        if isinstance(answer, Exception):
            raise answer
        if answer is SpanExportResult.SUCCESS:
            self.taken += [span.context.span_id for span in spans if span.context]
        return answer


@pytest.mark.parametrize("answer", [SpanExportResult.FAILURE, ValueError("a defect")])
def test_spans_that_the_exporter_could_not_send_are_sent_later(
    answer: SpanExportResult | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_traces, "LONGEST_PAUSE_SECONDS", 0.01)
    exporter = Exporter(answer)
    queue = pod_traces.queue_to(exporter, 1000)
    queue.add([span(span_id=1), span(span_id=2)])
    assert queue.flush(5)
    assert exporter.taken == [1, 2]
    assert queue.close(5)

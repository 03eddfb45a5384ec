"""Items on their way to a receiver that may be down or slow: bounded, and nobody waits for it.

One daemon thread sends. Used for spans to the collector and for call reports to each of their
places. The OpenTelemetry SDK's batch processor would not do for spans: it drops a batch that it
could not deliver within ten seconds, and its flush waits for as long as the collector likes.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from voicefleet.backoff import Backoff

T = TypeVar("T")

logger = logging.getLogger(__name__)


class RefusedError(Exception):
    """The receiver will never take these items."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a queue delivers. A batch that is not full waits `send_every_seconds` for more items."""

    most_waiting: int
    largest_batch: int = 1
    send_every_seconds: float = 0.0
    # The pauses after failures in a row.
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 60.0
    # A batch that fails this often while others get through will never be taken.
    most_refusals: int = 3


@dataclass(slots=True)
class Batch(Generic[T]):
    """`refusals` counts the failures that were the batch's own: the receiver had taken another
    batch just before.
    """

    items: list[T]
    refusals: int = 0


class DeliveryQueue(Generic[T]):
    """Takes items from any thread.

    `deliver` runs on the queue's thread. If it raises `RefusedError` the batch is given up; if it
    raises anything else the batch is tried again later. `on_given_up` gets every batch that is
    given up and the reason; it is called without a lock, from any thread, and must not raise.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[list[T]], None],
        policy: Policy,
        on_given_up: Callable[[list[T], str], None] = lambda items, reason: None,
    ) -> None:
        self._name, self._deliver, self._policy = name, deliver, policy
        self._on_given_up = on_given_up
        self._backoff = Backoff(policy.first_pause_seconds, policy.longest_pause_seconds)
        # Guards everything below, and is notified whenever any of it changes.
        self._changed = threading.Condition()
        self._new: deque[T] = deque()
        self._to_retry: deque[Batch[T]] = deque()
        self._in_flight: Batch[T] | None = None
        self._flushes = 0
        self._is_closing = self._is_closed = False
        # Whether the receiver answered to the last batch.
        self._is_available = True
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"deliver {name}", daemon=True)
        self._thread.start()

    def add(self, items: Iterable[T]) -> None:
        """Without waiting. If too many items wait, the oldest are given up."""
        with self._changed:
            was_idle = not self._new
            self._new.extend(items)
            reason = "the queue is closed" if self._is_closed else "the queue is full"
            given_up = self._take_all() if self._is_closed else self._take_surplus()
            # Not for every item: the thread would wake only to find that the batch is not full.
            if was_idle or self._is_due():
                self._changed.notify_all()
        self._give_up(given_up, reason)

    def flush(self, timeout_seconds: float) -> bool:
        """Send what waits now, without waiting for full batches. False if something is left when
        the time is over. The pauses after failures are kept.
        """
        with self._changed:
            self._flushes += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(self._is_empty, timeout_seconds)
            finally:
                self._flushes -= 1

    def start_closing(self) -> None:
        """Send what waits at once. The thread ends when all is sent, or when two attempts in a row
        have failed.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    def close(self, timeout_seconds: float) -> bool:
        """Send what waits, for this long at most, and give up the rest. False if there was any."""
        self.start_closing()
        self._thread.join(timeout_seconds)
        with self._changed:
            self._is_closed = True
            left = self._take_all()
        if left:
            extra = {"queue": self._name, "items": len(left)}
            logger.warning("items not delivered before the exit", extra=extra)
        self._give_up(left, "the pod stops")
        return not left

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            error = self._attempt(batch)
            with self._changed:
                if self._is_closed:
                    return
                was_available = self._is_available
                given_up, reason = self._settle(batch, error)
                must_end = self._is_closing and not (was_available or self._is_available)
            self._give_up(given_up, reason)
            if self._is_available is not was_available:
                self._log_change(error)
            if must_end:
                return
            if self._is_available:
                self._backoff.reset()
            else:
                self._pause()

    def _next_batch(self) -> Batch[T] | None:
        """Wait for the next batch that is due; None if the queue is closing and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._new or self._to_retry or self._is_closing)
            self._changed.wait_for(self._is_due, self._policy.send_every_seconds)
            if self._is_closed:
                return None
            # While the receiver is away, a new batch tells whether it is back: a batch to retry
            # may be one that it never takes.
            if self._to_retry and (self._is_available or not self._new):
                self._in_flight = self._to_retry.popleft()
            elif self._new:
                count = min(len(self._new), self._policy.largest_batch)
                self._in_flight = Batch([self._new.popleft() for _ in range(count)])
            return self._in_flight

    def _is_due(self) -> bool:
        is_full = len(self._new) >= self._policy.largest_batch
        return is_full or bool(self._to_retry) or self._flushes > 0 or self._is_closing

    def _attempt(self, batch: Batch[T]) -> Exception | None:
        try:
            self._deliver(batch.items)
        except Exception as error:
            return error
        return None

    def _settle(self, batch: Batch[T], error: Exception | None) -> tuple[list[T], str]:
        """Record how the attempt went, and return what is given up because of it, and why."""
        self._in_flight = None
        is_refused = isinstance(error, RefusedError)
        is_available = error is None or is_refused
        if not is_available:
            batch.refusals += self._is_available
            is_refused = batch.refusals >= self._policy.most_refusals
        self._is_available = is_available
        self._changed.notify_all()
        if is_refused:
            self.dropped += len(batch.items)
            return batch.items, str(error)
        if not is_available:
            self._to_retry.append(batch)
            return self._take_surplus(), "the queue is full"
        return [], ""

    def _log_change(self, error: Exception | None) -> None:
        """Once a change, not once an attempt."""
        with self._changed:
            extra = {"queue": self._name, "waiting": self._waiting(), "dropped": self.dropped}
        if self._is_available:
            logger.info("receiver available again", extra=extra)
        else:
            problem = f"{type(error).__name__}: {error}"
            logger.warning("receiver not available", extra=extra | {"error": problem})

    def _pause(self) -> None:
        """Leave a receiver that is not available alone for a while, also in a flush."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing, self._backoff.next_seconds())

    def _give_up(self, items: list[T], reason: str) -> None:
        if items:
            self._on_given_up(items, reason)

    def _waiting(self) -> int:
        return len(self._new) + sum(len(batch.items) for batch in self._to_retry)

    def _is_empty(self) -> bool:
        return not (self._new or self._to_retry or self._in_flight)

    def _take_surplus(self) -> list[T]:
        """Take out the oldest items beyond the limit: first those that have failed before."""
        taken: list[T] = []
        while (surplus := self._waiting() - self._policy.most_waiting) > 0:
            if self._to_retry:
                oldest = self._to_retry[0].items
                taken += oldest[:surplus]
                del oldest[:surplus]
                if not oldest:
                    self._to_retry.popleft()
            else:
                taken += [self._new.popleft() for _ in range(surplus)]
        self.dropped += len(taken)
        return taken

    def _take_all(self) -> list[T]:
        """Take out everything, and what is on its way, whose fate nobody will know."""
        batches = ([self._in_flight] if self._in_flight else []) + list(self._to_retry)
        taken = [item for batch in batches for item in batch.items] + list(self._new)
        self._in_flight = None
        self._to_retry.clear()
        self._new.clear()
        self.dropped += len(taken)
        return taken

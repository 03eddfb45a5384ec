"""The pod's queue of spans on their way to the collector: bounded, and patient with a collector
that is down or slow. One thread sends, and nobody waits for it.

The SDK's own batch processor drops a batch that it could not deliver within ten seconds, and its
flush waits for as long as the collector likes.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

logger = logging.getLogger(__name__)

# As the SDK does. A POST costs 3 ms of CPU whatever is in it: sent twice a second, as they come
# from the calls, they cost a call more than all else of its telemetry.
SEND_EVERY_SECONDS = 5.0
LARGEST_BATCH = 512
# After a failure; the exporter itself has tried for its own time-out before.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 15.0
# A batch that fails this often while others get through is one that the collector will never take.
MOST_REFUSALS = 3


@dataclass(slots=True)
class Batch:
    """`refusals` counts the failures that were its own: those between two successes of others."""

    spans: list[ReadableSpan]
    refusals: int = 0


class Outbox:
    """Takes spans from any thread; beyond `most` the oldest make room, and are counted."""

    def __init__(self, exporter: SpanExporter, most: int) -> None:
        self._exporter, self._most = exporter, most
        self._new: deque[ReadableSpan] = deque()
        self._kept: deque[Batch] = deque()
        self._changed = threading.Condition()
        self._is_sending = self._is_closed = self._is_hurried = False
        # Whether the collector took the last batch.
        self._is_well = True
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="span outbox", daemon=True)
        self._thread.start()

    def add(self, spans: Iterable[ReadableSpan]) -> None:
        with self._changed:
            self._new.extend(spans)
            self._make_room()
            if len(self._new) >= LARGEST_BATCH:
                self._changed.notify_all()

    def flush(self, timeout_seconds: float) -> bool:
        """Send what there is, and wait for it so long at most; False if something is left."""
        with self._changed:
            self._is_hurried = True
            self._changed.notify_all()
            return self._changed.wait_for(self._is_empty, timeout_seconds)

    def close(self, timeout_seconds: float) -> bool:
        """As `flush`, and nothing is sent any more afterwards."""
        is_sent = self.flush(timeout_seconds)
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            if left := self._held():
                logger.warning("spans not delivered", extra={"spans": left})
        return is_sent

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._is_closed:
            with self._changed:
                self._changed.wait_for(self._has_reason, SEND_EVERY_SECONDS)
                batch = self._next()
                self._is_sending = batch is not None
            if batch is not None:
                is_sent = self._sent(batch)
                with self._changed:
                    self._settle(batch, is_sent=is_sent)
                # An ill collector is left alone for a while, even by a flush.
                if not is_sent:
                    time.sleep(pause)
                pause = FIRST_PAUSE_SECONDS if is_sent else min(2 * pause, LONGEST_PAUSE_SECONDS)
            elif self._is_hurried:
                with self._changed:
                    self._is_hurried = False
                    self._changed.notify_all()

    def _has_reason(self) -> bool:
        return self._is_closed or self._is_hurried or len(self._new) >= LARGEST_BATCH

    def _next(self) -> Batch | None:
        """A kept batch while the collector is well; else a new one tells whether it is again."""
        if self._kept and (self._is_well or not self._new):
            return self._kept.popleft()
        if not self._new:
            return None
        count = min(len(self._new), LARGEST_BATCH)
        return Batch([self._new.popleft() for _ in range(count)])

    def _sent(self, batch: Batch) -> bool:
        try:
            return self._exporter.export(batch.spans) is SpanExportResult.SUCCESS
        except Exception:
            logger.warning("spans not sent", exc_info=True)
            return False

    def _settle(self, batch: Batch, *, is_sent: bool) -> None:
        self._is_sending = False
        if not is_sent:
            batch.refusals += self._is_well
            if batch.refusals < MOST_REFUSALS:
                self._kept.append(batch)
                self._make_room()
            else:
                self.dropped += len(batch.spans)
        if is_sent is not self._is_well:
            _say(is_well=is_sent, held=self._held())
        self._is_well = is_sent
        self._changed.notify_all()

    def _held(self) -> int:
        return len(self._new) + sum(len(batch.spans) for batch in self._kept)

    def _is_empty(self) -> bool:
        return not (self._new or self._kept or self._is_sending)

    def _make_room(self) -> None:
        """The oldest are given up: those that wait for the collector to be well again."""
        while (too_many := self._held() - self._most) > 0:
            if self._kept:
                oldest = self._kept[0].spans
                dropped = min(too_many, len(oldest))
                del oldest[:dropped]
                if not oldest:
                    self._kept.popleft()
            else:
                dropped = too_many
                for _ in range(dropped):
                    self._new.popleft()
            self.dropped += dropped


def _say(*, is_well: bool, held: int) -> None:
    """Once a change, and not once an attempt."""
    if is_well:
        logger.info("the collector takes traces again", extra={"held": held})
    else:
        logger.warning("the collector takes no traces", extra={"held": held})

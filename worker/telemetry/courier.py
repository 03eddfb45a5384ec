"""Takes reports to one place, one after the other, on a thread of its own, so that nobody waits for
a disk or a receiver. Patient while the pod runs, and quick when it leaves.
"""

import logging
import threading
import time
from collections import deque
from typing import Protocol

from worker.telemetry.report_places import RefusedError, Report

logger = logging.getLogger(__name__)

MOST_WAITING = 1000
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


class Place(Protocol):
    def deliver(self, report: Report) -> None: ...


class Courier:
    """Takes reports from any thread; one that is given up is written to the log, whole."""

    def __init__(self, place: Place, most: int = MOST_WAITING) -> None:
        self._place, self._most = place, most
        self._waiting: deque[Report] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._is_well = True
        self._thread = threading.Thread(target=self._run, name="report courier", daemon=True)
        self._thread.start()

    def add(self, report: Report) -> None:
        """Without waiting; where too many wait, the oldest is given up."""
        with self._changed:
            self._waiting.append(report)
            too_many = len(self._waiting) - self._most
            given_up = [self._waiting.popleft() for _ in range(too_many)]
            self._changed.notify_all()
        self._give_up(given_up, "too many wait")

    def hurry(self) -> None:
        """Try once more what waits, and end with the first that is not taken."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    def close(self, deadline: float) -> None:
        """Hurry, wait until `deadline` (of the monotonic clock) at most, and give up the rest."""
        self.hurry()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            left = list(self._waiting)
            self._waiting.clear()
        self._give_up(left, "the pod leaves")

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while (report := self._next()) is not None:
            if self._is_done_with(report):
                pause = FIRST_PAUSE_SECONDS
                continue
            with self._changed:
                if self._is_closing:
                    return
                self._changed.wait_for(lambda: self._is_closing, pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _next(self) -> Report | None:
        """The report that has waited longest, when there is one; None when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            return self._waiting[0] if self._waiting else None

    def _is_done_with(self, report: Report) -> bool:
        """Whether the report need not be tried again: it has been taken, or never will be."""
        refusal = ""
        try:
            self._place.deliver(report)
        except RefusedError as error:
            refusal = str(error)
        except Exception as error:
            self._say(is_well=False, error=str(error))
            return False
        with self._changed:
            if self._waiting and self._waiting[0] is report:
                self._waiting.popleft()
        if refusal:
            self._give_up([report], refusal)
        self._say(is_well=True)
        return True

    def _give_up(self, reports: list[Report], why: str) -> None:
        for report in reports:
            fields = {"job_id": report["job_id"], "why": why, "report": report}
            logger.warning("call report not delivered", extra=fields)

    def _say(self, *, is_well: bool, error: str = "") -> None:
        """Once a change, and not once an attempt."""
        if is_well is self._is_well:
            return
        self._is_well = is_well
        place = type(self._place).__name__.lower()
        if is_well:
            logger.info("call reports are taken again", extra={"place": place})
        else:
            logger.warning("call reports are not taken", extra={"place": place, "error": error})

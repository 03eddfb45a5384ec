"""Takes reports to one place, one after the other, on a thread of its own, so that nobody waits for
a disk or a receiver. Patient while the pod runs, and quick when it leaves.
"""

import http.client
import json
import logging
import os
import re
import tempfile
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError

from voicefleet import errors
from voicefleet.settings.telemetry import Telemetry
from voicefleet.telemetry.call_report import CallRecord, CallTotals, document

Report = dict[str, Any]

REQUEST_TIMEOUT_SECONDS = 10.0

# A receiver that answers so may take the same report later (RFC 9110 and 6585); what else is not a
# success, it will never take.
LATER = {408, 425, 429}

UNUSUAL = re.compile(r"[^\w.-]")


class RefusedError(Exception):
    """This report will never be taken."""


@dataclass(frozen=True, slots=True)
class Directory:
    """One file a call, named by its job id. Nobody sees a half of one."""

    path: Path

    def deliver(self, report: Report) -> None:
        """:raises OSError: if it cannot be written now."""
        name = UNUSUAL.sub("_", report["job_id"])
        part = self.path / f".{name}.part"
        with part.open("w", encoding="utf-8") as file:
            json.dump(report, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path / f"{name}.json")


@dataclass(frozen=True, slots=True)
class Address:
    """A POST a report. A receiver may get one twice, and knows it by its job id."""

    url: str
    token: str | None = field(default=None, repr=False)

    def deliver(self, report: Report) -> None:
        """:raises OSError: if it is not taken now.
        :raises RefusedError: if it never will be.
        """
        request = urllib.request.Request(
            self.url,
            data=json.dumps(report, ensure_ascii=False).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "voicefleet"},
            method="POST",
        )
        if self.token is not None:
            request.add_header("Authorization", f"Bearer {self.token}")
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=REQUEST_TIMEOUT_SECONDS):
                pass
        except HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in LATER:
                raise RefusedError(f"HTTP {error.code}") from None
            raise OSError(f"HTTP {error.code}") from None
        except http.client.HTTPException as error:
            raise OSError(repr(error)) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere would arrive as a GET, without the report."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def require_directory(path: Path | None) -> None:
    """:raises SettingsError: if reports could not be written there."""
    if path is None:
        return
    try:
        with tempfile.TemporaryFile(dir=path):
            return
    except OSError as error:
        fix = "mount a writable directory there, or unset it: each report is in the log as well"
        problem = (
            f"VOICEFLEET_REPORT_DIR is {str(path)!r}, which cannot be written: {error.strerror}"
        )
        raise errors.SettingsError([(problem, fix)]) from error


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


# The pod leaves without its last reports rather than late; they are in its log.
CLOSE_WITHIN_SECONDS = 2.0


class Reports:
    """Belongs to the parent's event loop, and never waits on it."""

    def __init__(self, places: Sequence[Place] = (), *, allow_pii: bool = False) -> None:
        self._allow_pii = allow_pii
        self._couriers = [Courier(place) for place in places]

    def account(self) -> CallTotals:
        """A new call's, to be filled with its facts."""
        return CallTotals(keeps_history=self._allow_pii)

    def call_ended(self, call: CallRecord, seconds: float, account: CallTotals) -> None:
        """Write the report of a call that is over, and send it on its way."""
        report = document(call, seconds, account)
        logger.info(
            "call report", extra={"job_id": call.job_id, "room_id": call.room_id, "report": report}
        )
        for courier in self._couriers:
            courier.add(report)

    def close(self) -> None:
        """Deliver what is left; blocks for two seconds at most."""
        deadline = time.monotonic() + CLOSE_WITHIN_SECONDS
        for courier in self._couriers:
            courier.hurry()
        for courier in self._couriers:
            courier.close(deadline)


def begin(settings: Telemetry) -> Reports:
    """Reports to the places that are set."""
    places: list[Place] = []
    if settings.report_dir is not None:
        places.append(Directory(settings.report_dir))
    if settings.report_url is not None:
        token = settings.report_token
        places.append(Address(settings.report_url, token.get_secret_value() if token else None))
    return Reports(places, allow_pii=settings.allow_pii)

"""The report of each call on its way: to the log at once, and to a directory or an address if set.

Each place has a queue of its own, so nobody waits for a disk or a receiver. A report that cannot be
delivered is written to the log, whole.
"""

import http.client
import json
import logging
import os
import re
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError

from voicefleet import errors
from voicefleet.settings.telemetry import Telemetry
from voicefleet.telemetry.call_report import CallRecord, CallTotals, document
from voicefleet.telemetry.delivery_queue import DeliveryQueue, Policy, RefusedError

Report = dict[str, Any]

# One at a time and at once. A receiver may be away for long; so few reports are worth the patience.
POLICY = Policy(most_waiting=1000, longest_pause_seconds=60.0, most_refusals=10)

# The pod stops without its last reports rather than late; they are in its log.
CLOSE_WITHIN_SECONDS = 2.0

REQUEST_TIMEOUT_SECONDS = 10.0
# After these answers the receiver may take the same report later (RFC 9110 and 6585); after any
# other answer below 500 that is not a success it never will.
RETRYABLE = {408, 425, 429}

# What is not safe in the name of a file.
UNSAFE = re.compile(r"[^\w.-]")

logger = logging.getLogger(__name__)


class Place(Protocol):
    """Where reports go."""

    def deliver(self, report: Report) -> None:
        """Runs on the queue's thread; raises `RefusedError` if it will never take this report."""


class Reports:
    """Belongs to the parent's event loop, and never waits on it."""

    def __init__(self, places: Sequence[Place] = ()) -> None:
        self._queues = [queue_to(place) for place in places]

    def call_ended(self, call: CallRecord, seconds: float, totals: CallTotals) -> None:
        """Log the report of a call that is over, and queue it for each place."""
        report = document(call, seconds, totals)
        logger.info(
            "call report", extra={"job_id": call.job_id, "room_id": call.room_id, "report": report}
        )
        for queue in self._queues:
            queue.add([report])

    def close(self) -> None:
        """Deliver what is left; blocks for two seconds at most."""
        deadline = time.monotonic() + CLOSE_WITHIN_SECONDS
        for queue in self._queues:
            queue.start_closing()
        for queue in self._queues:
            queue.close(max(0.0, deadline - time.monotonic()))


def begin(settings: Telemetry) -> Reports:
    """Reports to the places that are set."""
    places: list[Place] = []
    if settings.report_dir is not None:
        places.append(Directory(settings.report_dir))
    if settings.report_url is not None:
        token = settings.report_token
        places.append(Address(settings.report_url, token.get_secret_value() if token else None))
    return Reports(places)


def queue_to(place: Place, policy: Policy = POLICY) -> DeliveryQueue[Report]:
    """A queue whose receiver is the place; reports that are given up are written to the log."""

    def deliver(reports: list[Report]) -> None:
        for report in reports:
            place.deliver(report)

    name = f"call reports to {type(place).__name__.lower()}"
    return DeliveryQueue(name, deliver, policy, _log_undelivered)


def _log_undelivered(reports: list[Report], reason: str) -> None:
    for report in reports:
        fields = {"job_id": report["job_id"], "reason": reason, "report": report}
        logger.warning("call report not delivered", extra=fields)


@dataclass(frozen=True, slots=True)
class Directory:
    """One file a call, named by its job id. Nobody ever sees half of a file."""

    path: Path

    def deliver(self, report: Report) -> None:
        """:raises OSError: if it cannot be written now."""
        name = UNSAFE.sub("_", report["job_id"])
        part = self.path / f".{name}.part"
        with part.open("w", encoding="utf-8") as file:
            json.dump(report, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path / f"{name}.json")


@dataclass(frozen=True, slots=True)
class Address:
    """One POST a report. The receiver may get a report twice; it can tell by the job id."""

    url: str
    token: str | None = field(default=None, repr=False)

    def deliver(self, report: Report) -> None:
        """:raises OSError: if it is not taken now.
        :raises RefusedError: if it will never be taken.
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
            if error.code < 500 and error.code not in RETRYABLE:
                raise RefusedError(f"HTTP {error.code}") from None
            raise OSError(f"HTTP {error.code}") from None
        except http.client.HTTPException as error:
            raise OSError(repr(error)) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET, without the report."""

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
        fix = "mount a writable directory there, or unset it: each report is also in the log"
        problem = (
            f"VOICEFLEET_REPORT_DIR is {str(path)!r}, which cannot be written: {error.strerror}"
        )
        raise errors.SettingsError([(problem, fix)]) from error

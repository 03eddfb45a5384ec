"""The reports of a pod's calls, on their way to wherever they are wanted; always to the log."""

import logging
import time
from collections.abc import Sequence

from worker.telemetry.call_account import CallAccount
from worker.telemetry.call_record import CallRecord
from worker.telemetry.call_report import document
from worker.telemetry.courier import Courier, Place
from worker.telemetry.report_places import Address, Directory
from worker.telemetry_groups import Telemetry

logger = logging.getLogger(__name__)

# The pod leaves without its last reports rather than late; they are in its log.
CLOSE_WITHIN_SECONDS = 2.0


class Reports:
    """Belongs to the parent's event loop, and never waits on it."""

    def __init__(self, places: Sequence[Place] = (), *, allow_pii: bool = False) -> None:
        self._allow_pii = allow_pii
        self._couriers = [Courier(place) for place in places]

    def account(self) -> CallAccount:
        """A new call's, to be filled with its facts."""
        return CallAccount(keeps_history=self._allow_pii)

    def call_ended(self, call: CallRecord, seconds: float, account: CallAccount) -> None:
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

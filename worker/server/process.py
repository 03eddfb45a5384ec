"""One job process, as its pod knows it, and what became of its call."""

import asyncio
import logging
import time
from dataclasses import dataclass

from worker.telemetry.events import OUTCOMES, CallEnded, Cause, Outcome

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Process:
    """One job process. `began_at` is when its call began, on the monotonic clock."""

    writer: asyncio.StreamWriter
    pid: int
    is_warm: bool = False
    job_id: str | None = None
    room_id: str = ""
    began_at: float = 0.0
    ended: CallEnded | None = None
    error: str = "the process ended while it loaded"


@dataclass(frozen=True, slots=True)
class CallOver:
    """What became of a call that this pod took."""

    job_id: str
    cause: Cause
    seconds: float


def over_of(process: Process, job_id: str, killed_for: Cause | None) -> CallOver:
    """What became of the call of a process that is gone. One that said nothing has died."""
    if process.ended is not None:
        return CallOver(job_id, process.ended.cause, process.ended.seconds)
    return CallOver(job_id, killed_for or Cause.CRASHED, time.monotonic() - process.began_at)


def log(over: CallOver, room_id: str) -> None:
    """One record a call, an error where it failed."""
    outcome = OUTCOMES[over.cause]
    level = logging.ERROR if outcome is Outcome.FAILED else logging.INFO
    fields = {
        "job_id": over.job_id,
        "room_id": room_id,
        "outcome": outcome.value,
        "cause": over.cause.value,
        "seconds": round(over.seconds, 3),
    }
    logger.log(level, "call over", extra=fields)

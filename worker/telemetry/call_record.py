"""A call that is over, as its span and its report tell it."""

from dataclasses import dataclass

from worker.telemetry.events import Cause, Outcome


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call that is over, or was refused; times are unix seconds, and None where it never came so
    far. `slot` counts from 0.
    """

    job_id: str
    room_id: str
    agent_name: str
    outcome: Outcome
    cause: Cause
    offered_at: float
    ended_at: float
    accepted_at: float | None = None
    launched_at: float | None = None
    joined_at: float | None = None
    slot: int | None = None

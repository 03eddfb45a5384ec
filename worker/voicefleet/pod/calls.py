"""What the pod knows of itself: phase, slots, calls. Belongs to the parent's event loop.

Everything that reports on the pod (endpoints, load, logs) reads this, and only `run` and the
admission change it.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Phase(StrEnum):
    """STARTING until models are warm and LiveKit knows the pod, READY until it is told to stop,
    DRAINING while its calls end, STOPPED when it leaves.
    """

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Call:
    """A call on this pod. `began_at` is unix seconds, of the moment LiveKit assigned it; `room_id`
    is LiveKit's (RM_…).
    """

    id: str
    began_at: float
    room_id: str = ""


@dataclass(slots=True)
class PodState:
    """`calls` asks for the calls that run now; times are unix seconds. `is_serving` is true once
    LiveKit's worker runs, and `prewarm_failures` counts those in a row.
    """

    slots: int
    calls: Callable[[], Iterable[Call]]
    is_serving: bool = False
    has_been_warm: bool = False
    is_registered: bool = False
    prewarm_failures: int = 0
    prewarm_error: str = ""
    drain_began_at: float | None = None
    drain_deadline_at: float | None = None
    is_stopped: bool = False
    clock: Callable[[], float] = field(default=time.time)

    @property
    def phase(self) -> Phase:
        """Once ready, never starting again: a lost connection to LiveKit changes nothing here, so
        that Kubernetes does not take a busy pod for the first to remove.
        """
        if self.is_stopped:
            return Phase.STOPPED
        if self.drain_began_at is not None:
            return Phase.DRAINING
        return Phase.READY if self.is_started else Phase.STARTING

    @property
    def call_count(self) -> int:
        return len(list(self.calls()))

    @property
    def is_warm(self) -> bool:
        """A process has loaded its models once, and so can the next."""
        return self.is_serving and self.has_been_warm

    @property
    def is_stopping(self) -> bool:
        return self.is_stopped or self.drain_began_at is not None

    @property
    def is_started(self) -> bool:
        return self.is_warm and self.is_registered

    @property
    def oldest_call_seconds(self) -> float | None:
        """Age of the call that has been on for longest; None without a call."""
        began = [call.began_at for call in self.calls()]
        return max(0.0, self.clock() - min(began)) if began else None

    def warmed(self) -> None:
        """A process is ready for a call."""
        self.has_been_warm, self.prewarm_failures, self.prewarm_error = True, 0, ""

    def prewarm_failed(self, error: str) -> None:
        """A process has ended before it was ready."""
        self.prewarm_failures, self.prewarm_error = self.prewarm_failures + 1, error

    def begin_drain(self, timeout_seconds: float) -> None:
        """Remember that the pod was told to stop; a second time changes nothing."""
        if self.drain_began_at is None:
            self.drain_began_at = self.clock()
            self.drain_deadline_at = self.drain_began_at + timeout_seconds

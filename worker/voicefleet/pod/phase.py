"""The phase of the pod: starting, ready, draining, stopped. Belongs to the parent's event loop."""

import time
from collections.abc import Callable
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


@dataclass(slots=True)
class PodState:
    """What makes the phase. Times are unix seconds. `is_serving`: LiveKit's worker runs.
    `prewarm_failures` counts failures in a row, `warm_processes` those that wait for a call,
    `job_pids` are all that are connected. `on_started` is called once, when all is there for calls.
    """

    is_serving: bool = False
    is_registered: bool = False
    has_been_warm: bool = False
    warm_processes: int = 0
    job_pids: set[int] = field(default_factory=set)
    prewarm_failures: int = 0
    drain_began_at: float | None = None
    drain_deadline_at: float | None = None
    is_stopped: bool = False
    on_started: Callable[[], None] | None = None
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
    def is_warm(self) -> bool:
        """A process has loaded its models once, and so can the next."""
        return self.is_serving and self.has_been_warm

    @property
    def can_take_calls(self) -> bool:
        """A process waits for a call, or nothing speaks against the next one's loading."""
        return self.warm_processes > 0 or self.prewarm_failures == 0

    @property
    def is_stopping(self) -> bool:
        return self.is_stopped or self.drain_began_at is not None

    @property
    def is_started(self) -> bool:
        return self.is_warm and self.is_registered

    def warmed(self) -> None:
        """A process has loaded its models and waits for a call."""
        self.has_been_warm, self.prewarm_failures = True, 0
        self._tell_if_started()

    def registered(self) -> None:
        """LiveKit knows the pod, for the first time or again."""
        self.is_registered = True
        self._tell_if_started()

    def begin_drain(self, timeout_seconds: float) -> None:
        """Remember that the pod was told to stop; a second time changes nothing."""
        if self.drain_began_at is None:
            self.drain_began_at = self.clock()
            self.drain_deadline_at = self.drain_began_at + timeout_seconds

    def _tell_if_started(self) -> None:
        if self.is_started and self.on_started is not None:
            tell, self.on_started = self.on_started, None
            tell()

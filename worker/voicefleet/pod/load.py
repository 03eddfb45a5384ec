"""How full the pod is, as LiveKit is told: calls against slots, and CPU or memory only near harm.

LiveKit offers no job to a worker at or above the threshold. If the node's CPU counted, a busy
neighbour would make an idle pod invisible, and its callers would hear silence. So CPU and memory
are the pod's own, count nothing while there is room, and reach full where calls would suffer.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from voicefleet.pod.cgroup import Reading, Share
from voicefleet.pod.slots import MEMORY_FULL_RATIO

# Below these, CPU and memory count nothing. They must not tint the load of a pod with room: LiveKit
# divides the load by the calls to guess what the next one costs, so that one call on a pod at half
# its memory would look like half a pod (`_get_effective_load`, livekit-agents 1.8.9).
CPU_COUNTS_RATIO = 0.70
MEMORY_COUNTS_RATIO = 0.75

# Full: at 95 % of all the CPU it can get, averaged over 10 s, the bursts of a turn no longer fit,
# and audio frames (20 ms) come late.
CPU_FULL_RATIO = 0.95

# Above its request a pod lives on CPU that its neighbours do not want at the moment. That is no
# harm yet, so it only makes LiveKit prefer other pods; refusing calls with CPU to spare would be.
BORROWED_CEILING = 0.9

# It is harm once the pod uses its request and its processes wait for CPU all the same. A quarter of
# the last 10 s: a guess, to be measured. Waiting alone proves nothing: a pod below its request gets
# what it asks for before its neighbours do (cpu.weight), after waits of milliseconds.
PRESSED_RATIO = 0.25

# An exponential mean of this time constant is as old on average as a plain mean of 10 s.
SMOOTHING_SECONDS = 5.0

# Reading more often than this adds noise and cost: LiveKit also asks before it answers an offer.
LEAST_INTERVAL_SECONDS = 0.25

# LiveKit warms no process for the next call while it counts jobs and reads a load of 0
# (`_load_task`, livekit-agents 1.8.9).
LEAST_LOAD_RATIO = 0.001

# What could not be read for this long is unknown, and unknown is not full.
STALE_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Use:
    """What the pod uses, at monotonic seconds `at`; `cpu_cores` is smoothed. The `…_at` are of the
    last good reading of each.
    """

    at: float
    cpu_at: float
    memory_at: float
    cpu_seconds: float | None = None
    cpu_cores: float = 0.0
    cpu_pressure_ratio: float = 0.0
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class LoadParts:
    """What the load is the largest of, each 0 to 1."""

    slots: float
    cpu: float
    memory: float

    @property
    def is_harmful(self) -> bool:
        """Whether one more call would harm those that are on, whatever slots are free."""
        return max(self.cpu, self.memory) >= 1.0


def of(calls: int, slots: int, threshold: float) -> float:
    """The load of a pod with this many calls: 0 with none, the threshold when every slot is taken.

    >>> of(calls=5, slots=10, threshold=0.7)
    0.35
    """
    return threshold * slots_part(calls, slots)


def slots_part(calls: int, slots: int) -> float:
    return min(1.0, calls / slots)


def cpu_part(use: Use, share: Share) -> float:
    """1.0 at the wall, or at the request if processes wait all the same; else below full."""
    part = _ramp(use.cpu_cores / share.cpu_wall, CPU_COUNTS_RATIO, CPU_FULL_RATIO)
    if share.cpu_request is None:
        return part
    request = _ramp(use.cpu_cores / share.cpu_request, CPU_COUNTS_RATIO, CPU_FULL_RATIO)
    if use.cpu_pressure_ratio < PRESSED_RATIO:
        request = min(request, BORROWED_CEILING)
    return max(part, request)


def memory_part(use: Use, share: Share) -> float:
    """1.0 at 90 % of the limit, past which one more call may have the kernel end them all."""
    if use.memory_bytes is None or not share.memory_bytes:
        return 0.0
    return _ramp(use.memory_bytes / share.memory_bytes, MEMORY_COUNTS_RATIO, MEMORY_FULL_RATIO)


def advance(use: Use, reading: Reading, now: float, cpu_wall: float) -> Use:
    """The use after one more reading. What it lacks stays as it was, until it is stale."""
    memory_at, memory_bytes = now, reading.memory_bytes
    if memory_bytes is None and now - use.memory_at < STALE_SECONDS:
        memory_at, memory_bytes = use.memory_at, use.memory_bytes
    cpu_at, cpu_seconds, cpu_cores = now, reading.cpu_seconds, use.cpu_cores
    if cpu_seconds is None:
        cpu_at, cpu_seconds = use.cpu_at, use.cpu_seconds
        cpu_cores = cpu_cores if now - cpu_at < STALE_SECONDS else 0.0
    elif use.cpu_seconds is not None and cpu_seconds >= use.cpu_seconds and now > use.cpu_at:
        # A process tree forgets what ended unseen: a step back only moves where we count from.
        elapsed = now - use.cpu_at
        cores = min(cpu_wall, (cpu_seconds - use.cpu_seconds) / elapsed)
        cpu_cores += (cores - cpu_cores) * -math.expm1(-elapsed / SMOOTHING_SECONDS)
    pressure = reading.cpu_pressure_ratio or 0.0
    return Use(now, cpu_at, memory_at, cpu_seconds, cpu_cores, pressure, memory_bytes)


class LoadMeter:
    """The load of this pod, from any thread. Never raises and never waits: one exception would end
    LiveKit's load task for good, and freeze the load that it reports.
    """

    def __init__(
        self,
        slots: int,
        threshold: float,
        share: Share,
        read: Callable[[], Reading],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots, self._threshold, self._share = slots, threshold, share
        self._read, self._clock = read, clock
        self._sampling = threading.Lock()
        self._has_warned = False
        now = clock()
        # From nothing upwards: the imports and warm-up of the start are not a sustained use.
        self._use = Use(now, now, now)
        self._parts = LoadParts(0.0, 0.0, 0.0)

    def load(self, calls: int, *, has_calls: bool = False) -> float:
        """0 to the threshold, for this many calls that hold a slot now; samples where the last one
        is old. With `has_calls` it is never 0, also where the only call is one that finishes.
        """
        self._sample()
        use = self._use
        parts = LoadParts(
            slots_part(calls, self._slots),
            cpu_part(use, self._share),
            memory_part(use, self._share),
        )
        self._parts = parts
        least = LEAST_LOAD_RATIO if has_calls else 0.0
        return self._threshold * max(parts.slots, parts.cpu, parts.memory, least)

    def parts(self) -> LoadParts:
        """What the last load was made of."""
        return self._parts

    def _sample(self) -> None:
        # Whoever comes while another thread samples takes the last value.
        if not self._sampling.acquire(blocking=False):
            return
        try:
            now = self._clock()
            if now - self._use.at >= LEAST_INTERVAL_SECONDS:
                self._use = advance(self._use, self._reading(), now, self._share.cpu_wall)
        finally:
            self._sampling.release()

    def _reading(self) -> Reading:
        try:
            return self._read()
        except Exception as error:
            if not self._has_warned:
                self._has_warned = True
                logger.warning("load not sampled", extra={"error": repr(error)})
            return Reading(None, None)


def _ramp(value: float, begins: float, full: float) -> float:
    return min(1.0, max(0.0, (value - begins) / (full - begins)))

"""What a call costs: CPU and memory of its process while it is on, by which slots are reckoned; and
what telemetry adds to it.

The second is the CPU of a worker's whole process tree over calls with telemetry and over calls
without, one after the other, so that whatever else the machine does falls on both. A second worker
without shows what a difference means: as much as two that are alike differ by is noise.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, dataclass
from statistics import median
from urllib.parse import urlparse

import aiohttp
import psutil

# As Prometheus does by the chart's own PodMonitor.
SCRAPE_EVERY_SECONDS = 15.0

# Before a call nothing may be loading any more; after it its process ends and the last spans go.
# The same for every call, so that the worker's idle time is.
LOOK_SECONDS = 3.0
RESTING_CPU_SECONDS = 0.3
LONGEST_UNREST_SECONDS = 30.0
AFTER_CALL_SECONDS = 8.0

# Joining a room and building a session are over by then; it is the rest of a call that fills a pod.
STEADY_AFTER_SECONDS = 3.0
WEIGH_EVERY_SECONDS = 0.5
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of the process of one call in its steady state: CPU in cores, and at most how much memory it
    had that it shares with no other process (USS).
    """

    cores: float
    own_mib: float


class Scales:
    """Weighs the process of the call that begins next, until cancelled."""

    def __init__(self, worker_pid: int, livekit_url: str) -> None:
        self._worker_pid, self._livekit_url = worker_pid, livekit_url
        # That of the call before may be on its way out.
        self._older = call_processes(worker_pid, livekit_url)
        self._samples: list[tuple[float, float, float]] = []

    async def weigh(self) -> None:
        process: psutil.Process | None = None
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            while True:
                if process is not None:
                    times, own = process.cpu_times(), process.memory_full_info().uss
                    self._samples.append((time.monotonic(), times.user + times.system, own / MIB))
                elif found := self._new_processes():
                    process = found[0]
                    await asyncio.sleep(STEADY_AFTER_SECONDS)
                await asyncio.sleep(WEIGH_EVERY_SECONDS)

    def _new_processes(self) -> list[psutil.Process]:
        found = call_processes(self._worker_pid, self._livekit_url)
        return [process for process in found if process not in self._older]

    def footprint(self) -> Footprint | None:
        """None if the call was too short to be weighed."""
        if len(self._samples) < 2:
            return None
        (began, used_before, _), (ended, used, _) = self._samples[0], self._samples[-1]
        cores = (used - used_before) / (ended - began)
        return Footprint(cores, max(own for _, _, own in self._samples))


def call_processes(worker_pid: int, livekit_url: str) -> list[psutil.Process]:
    """The worker's job processes that are connected to LiveKit: those in a call."""
    port = urlparse(livekit_url).port
    parent, found = psutil.Process(worker_pid), list[psutil.Process]()
    for process in parent.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            # LiveKit forks the jobs from a forkserver, which is the worker's child.
            is_job = process.ppid() != parent.pid
            connected = process.net_connections(kind="tcp") if is_job else []
            if any(c.raddr and c.raddr.port == port for c in connected):
                found.append(process)
    return found


@dataclass(frozen=True, slots=True)
class Round:
    """The CPU seconds of three calls that followed one another."""

    with_telemetry: float
    without: float
    also_without: float

    @property
    def ratio(self) -> float:
        """Against the mean of those without."""
        return self.with_telemetry * 2 / (self.without + self.also_without)

    @property
    def ratio_of_alike(self) -> float:
        return self.also_without / self.without


def tree_cpu_seconds(pid: int) -> float:
    """User and system time of a process, of its descendants, and of those of theirs that ended."""
    root = psutil.Process(pid)
    seconds = 0.0
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


async def of_call(pid: int, call: Callable[[], Awaitable[object]]) -> float:
    """CPU seconds of the worker from before the call until all of it is over: the call, its
    telemetry, its process's end, and the process that takes its place.
    """
    await _at_rest(pid)
    before = tree_cpu_seconds(pid)
    await call()
    await asyncio.sleep(AFTER_CALL_SECONDS)
    return tree_cpu_seconds(pid) - before


async def scraping(url: str) -> None:
    """Scrape the metrics of a pod, until cancelled."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{url}/metrics") as response:
                await response.read()
            await asyncio.sleep(SCRAPE_EVERY_SECONDS)


def table(rounds: Sequence[Round]) -> str:
    """Each round, and what they say together."""
    if not rounds:
        return "no round of calls was measured"
    columns = ("with", "without", "without", "ratio", "of alike")
    head = " ".join(f"{name:>8}" for name in columns)
    lines = [f"{'round':>7} {head}  (CPU seconds a call)"]
    for number, one in enumerate(rounds, 1):
        lines.append(f"{number:>7} {_row(*astuple(one), one.ratio, one.ratio_of_alike)}")
    middles = (median(column) for column in zip(*map(astuple, rounds), strict=True))
    lines.append(f"{'median':>7} {_row(*middles)}")
    lines.append(_spread("with telemetry against without", [one.ratio for one in rounds]))
    lines.append(_spread("one without against another", [one.ratio_of_alike for one in rounds]))
    return "\n".join(lines)


def _row(*values: float) -> str:
    return " ".join(f"{value:8.3f}" for value in values)


def _spread(what: str, ratios: Sequence[float]) -> str:
    middle = f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}, n={len(ratios)})"
    return f"{what}: {middle}"


async def _at_rest(pid: int) -> None:
    deadline = asyncio.get_running_loop().time() + LONGEST_UNREST_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        before = tree_cpu_seconds(pid)
        await asyncio.sleep(LOOK_SECONDS)
        if tree_cpu_seconds(pid) - before < RESTING_CPU_SECONDS:
            return

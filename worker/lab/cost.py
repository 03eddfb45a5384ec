"""What telemetry costs a call: the CPU of a worker's whole process tree over calls with it and over
calls without, one after the other, so that whatever else the machine does falls on both.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median

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


@dataclass(frozen=True, slots=True)
class Round:
    """The CPU seconds of two calls that followed one another."""

    with_telemetry: float
    without: float

    @property
    def ratio(self) -> float:
        return self.with_telemetry / self.without


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
    lines = [f"{'round':>5} {'with':>8} {'without':>8} {'ratio':>7}  (CPU seconds a call)"]
    for number, one in enumerate(rounds, 1):
        lines.append(f"{number:>5} {one.with_telemetry:8.2f} {one.without:8.2f} {one.ratio:7.3f}")
    ratios = [one.ratio for one in rounds]
    told = median(one.with_telemetry for one in rounds)
    untold = median(one.without for one in rounds)
    lines.append(f"  median {told:6.2f} {untold:8.2f} {told / untold:7.3f}")
    spread = f"min {min(ratios):.3f}, median {median(ratios):.3f}, max {max(ratios):.3f}"
    lines.append(f"ratios of the rounds: {spread}, n={len(rounds)}")
    return "\n".join(lines)


async def _at_rest(pid: int) -> None:
    deadline = asyncio.get_running_loop().time() + LONGEST_UNREST_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        before = tree_cpu_seconds(pid)
        await asyncio.sleep(LOOK_SECONDS)
        if tree_cpu_seconds(pid) - before < RESTING_CPU_SECONDS:
            return

"""What telemetry costs a call: the CPU of a worker's whole process tree over calls with it and over
calls without, one after the other, so that whatever else the machine does falls on both. A second
worker without shows what a difference means: as much as two that are alike differ by is noise.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, dataclass
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

"""What a worker's process tree holds and uses: memory by PSS, CPU with what has ended in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlparse

import psutil

from worker.lab.compare.outcome import NotHeld
from worker.lab.compare.stage import Stage

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Weight:
    """Memory in MiB. PSS shares what processes have in common among them, so it can be added up.
    `jobs` has a value for each job process, warm or in a call; `calls` those in a call; `own` is
    what each job process shares with no other (USS).
    """

    total: float
    jobs: tuple[float, ...]
    calls: tuple[float, ...]
    own: tuple[float, ...]


def weigh(stage: Stage) -> Weight:
    """:raises NotHeld: where the kernel does not tell a process's PSS."""
    port = urlparse(stage.livekit.url).port
    parent = psutil.Process(stage.worker.pid)
    total, jobs, calls, own = 0.0, list[float](), list[float](), list[float]()
    for process in (parent, *parent.children(recursive=True)):
        with _that_may_end():
            held, unshared = _pss_and_uss_mib(process)
            total += held
            # LiveKit forks the jobs from a forkserver, which is the worker's child.
            if process != parent and process.ppid() != parent.pid:
                jobs.append(held)
                own.append(unshared)
                connected = process.net_connections(kind="tcp")
                if any(c.raddr and c.raddr.port == port for c in connected):
                    calls.append(held)
    return Weight(total, tuple(jobs), tuple(calls), tuple(own))


def cpu_seconds(stage: Stage) -> float:
    """CPU seconds of the whole tree since its start. What has ended is in its parent's figures."""
    parent, used = psutil.Process(stage.worker.pid), 0.0
    for process in (parent, *parent.children(recursive=True)):
        with _that_may_end():
            times = process.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
    return used


def _pss_and_uss_mib(process: psutil.Process) -> tuple[float, float]:
    held = process.memory_full_info()
    pss = getattr(held, "pss", None)
    if pss is None:
        raise NotHeld("this system does not tell the PSS of a process (Linux does)")
    return float(pss) / MIB, float(held.uss) / MIB


@contextmanager
def _that_may_end() -> Iterator[None]:
    """A process that ends while it is looked at weighs nothing."""
    try:
        yield
    except psutil.NoSuchProcess:
        return

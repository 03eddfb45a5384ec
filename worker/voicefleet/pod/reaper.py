"""Ends and reaps what a killed call leaves behind: programs that its agent file had started.

A job ends its own programs when its call ends (`job.descendants`). One that is killed cannot; its
orphans then become children of this process, which is process 1 of a container, or asks for them
(PR_SET_CHILD_SUBREAPER). Nobody else would reap them, and process 1 would collect zombies.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from voicefleet.job import descendants
from voicefleet.pod.phase import PodState

logger = logging.getLogger(__name__)

# How often the children of this process are looked at while no job has died, to know its own.
CALM_SECONDS = 1.0
# For so long after a death, and so often, a new child is taken for an orphan of it.
SWEEP_SECONDS = 3.0
LOOK_SECONDS = 0.1
# The kernel tells the start of a process in these.
TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Span:
    """Times are seconds since the machine started; `ended_at` is None while it is on."""

    began_at: float
    ended_at: float | None = None


class Reaper:
    """Belongs to the parent's event loop. Children of this process that were there before a job
    died are its own: the forkserver, and what the agent file's import started. So are those that
    the agent file's code starts in this process after that.
    """

    def __init__(self, state: PodState) -> None:
        self._state = state
        self._own = set[int]()
        self._orphans = dict[int, float]()
        self._has_died = asyncio.Event()
        self._died_at = 0.0
        self._asked = list[Span]()

    @contextmanager
    def agent_file_runs(self) -> Iterator[None]:
        """The agent file's code runs in this process: its programs are no orphans."""
        span = Span(_since_boot())
        self._asked = [s for s in self._asked if s.ended_at is None or _is_recent(s.ended_at)]
        self._asked.append(span)
        try:
            yield
        finally:
            span.ended_at = _since_boot()

    def job_ended(self, pid: int) -> None:
        """A process that had a call is gone; what it has left is now this process's."""
        self._died_at = time.monotonic()
        self._has_died.set()
        logger.debug("looking for orphans of a job", extra={"pid": pid})

    @asynccontextmanager
    async def reaping(self) -> AsyncIterator[None]:
        """Look after orphans while the context lasts, then kill what is left of them."""
        if not descendants.adopt_orphans():
            logger.info("orphans of a killed call are not ended on this system")
            yield
            return
        self._own = children()
        watching = asyncio.create_task(self._watch(), name="reap orphans")
        try:
            yield
        finally:
            watching.cancel()
            self._sweep()
            for pid in self._orphans:
                _send(pid, signal.SIGKILL)
            descendants.leave_orphans()

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CALM_SECONDS):
                    await self._has_died.wait()
            if not self._has_died.is_set():
                self._own = children()
                continue
            while self._orphans or time.monotonic() - self._died_at < SWEEP_SECONDS:
                self._sweep()
                await asyncio.sleep(LOOK_SECONDS)
            self._has_died.clear()

    def _sweep(self) -> None:
        now = time.monotonic()
        is_fresh = now - self._died_at < SWEEP_SECONDS
        # The jobs themselves become children of this process if the forkserver dies.
        for pid in (children() - self._own - self._state.job_pids) if is_fresh else ():
            if self._is_agent_files(pid):
                self._own.add(pid)
            elif pid not in self._orphans:
                self._orphans[pid] = now
                logger.info("ending a program that a killed call has left", extra={"pid": pid})
                _send(pid, signal.SIGTERM)
        for pid, since in tuple(self._orphans.items()):
            if _is_reaped(pid):
                del self._orphans[pid]
            elif now - since >= descendants.GRACE_SECONDS:
                _send(pid, signal.SIGKILL)

    def _is_agent_files(self, pid: int) -> bool:
        """Whether it was started while the agent file's code ran here. A program that the killed
        call had started in that very moment is taken for one, too: better than that a caller is
        refused because another call has ended.
        """
        started_at = _started_at(pid)
        return started_at is not None and any(
            span.began_at - TICK_SECONDS <= started_at
            and (span.ended_at is None or started_at <= span.ended_at)
            for span in self._asked
        )


def _since_boot() -> float:
    # Elsewhere nothing is compared with it.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _is_recent(at: float) -> bool:
    return _since_boot() - at < SWEEP_SECONDS


def _started_at(pid: int) -> float | None:
    """Seconds since the machine started; None if it is gone. Field 22, counted from 1:
    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(after_name[19]) * TICK_SECONDS


def children() -> set[int]:
    """The pids of this process's children, those that have ended and were not reaped included."""
    found = set[int]()
    try:
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.update(int(pid) for pid in (task / "children").read_text().split())
    except OSError:
        return set()
    # Without CONFIG_PROC_CHILDREN there is no such file: then by the table of all processes.
    return found or {process.pid for process in psutil.Process().children()}


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _is_reaped(pid: int) -> bool:
    try:
        reaped, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return reaped == pid

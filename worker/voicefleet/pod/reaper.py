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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
# From SIGTERM to SIGKILL.
GRACE_SECONDS = 2.0


class Reaper:
    """Belongs to the parent's event loop. Children of this process that were there before a job
    died are its own: the forkserver, and what the agent file's import started.
    """

    def __init__(self, state: PodState) -> None:
        self._state = state
        self._own = set[int]()
        self._orphans = dict[int, float]()
        self._has_died = asyncio.Event()
        self._died_at = 0.0

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
            if pid not in self._orphans:
                self._orphans[pid] = now
                logger.info("ending a program that a killed call has left", extra={"pid": pid})
                _send(pid, signal.SIGTERM)
        for pid, since in tuple(self._orphans.items()):
            if _is_reaped(pid):
                del self._orphans[pid]
            elif now - since >= GRACE_SECONDS:
                _send(pid, signal.SIGKILL)


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

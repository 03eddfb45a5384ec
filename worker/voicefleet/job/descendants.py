"""The programs that a call started: found by descent, and ended with the call.

A program may fork twice, call setsid and change its environment; its descent is what it cannot
change. On Linux a process whose parent ends is given to the nearest living ancestor that is a
"child subreaper" (https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html). With
every job one, whatever a living call started descends from its job. With the pod's parent one too,
what a killed job leaves becomes a child of the parent, past the forkserver, and nothing of a living
call does; but the jobs themselves do, if the forkserver dies.
"""

import asyncio
import contextlib
import ctypes
import logging
import time

import psutil

logger = logging.getLogger(__name__)

# linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36

# From SIGTERM to SIGKILL.
GRACE_SECONDS = 2.0

# What survives SIGKILL for so long hangs in the kernel, and is left to the pod's parent.
KILLED_WITHIN_SECONDS = 1.0

LOOK_EVERY_SECONDS = 0.02


def adopt_orphans() -> bool:
    """Become the parent of every descendant whose own parent ends; False where that does not exist.

    It is not inherited over a fork. Nobody reaps what is adopted: its entry in the process table
    stays until this process ends.
    """
    return _be_subreaper(1)


def leave_orphans() -> None:
    """Be no such parent any more."""
    _be_subreaper(0)


def _be_subreaper(is_one: int) -> bool:
    try:
        result: int = ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, is_one, 0, 0, 0)
    except (OSError, AttributeError):
        return False
    return result == 0


def end_descendants(grace_seconds: float = GRACE_SECONDS) -> None:
    """SIGTERM for every descendant of this process, then SIGKILL; what they start meanwhile is
    included. Blocks for as long as they live, and for no longer than both times together.
    """
    began_at = time.monotonic()
    asked = set[psutil.Process]()
    while running := _running():
        elapsed_seconds = time.monotonic() - began_at
        if elapsed_seconds > grace_seconds + KILLED_WITHIN_SECONDS:
            logger.error("programs of the call cannot be killed", extra=_named(running))
            return
        for process in running:
            with contextlib.suppress(psutil.Error):
                if elapsed_seconds >= grace_seconds:
                    process.kill()
                elif process not in asked:
                    process.terminate()
        if new := set(running) - asked:
            asked |= new
            logger.info("ending programs of the call", extra=_named(new))
        # Waiting for one would take its exit code from whoever in this process waits for it, too.
        time.sleep(LOOK_EVERY_SECONDS)


async def end_with_the_loop() -> None:
    """End the descendants when this task is cancelled, as the last of the call.

    LiveKit cancels what is left in a job's event loop when every shutdown callback has returned,
    and then waits for the threads of its executor (1.8.9, ipc/proc_client.py, `run`). A thread that
    waits for a program would keep the process for ever.
    """
    try:
        await asyncio.Event().wait()
    finally:
        end_descendants()


def _running() -> list[psutil.Process]:
    """The descendants that have not ended; what has is left to its parent to reap."""
    with contextlib.suppress(psutil.Error, OSError):
        return [p for p in psutil.Process().children(recursive=True) if not _has_ended(p)]
    return []


def _has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def _named(processes: "set[psutil.Process] | list[psutil.Process]") -> dict[str, object]:
    # The name alone: arguments may hold what a caller said, or a secret.
    names = list[str]()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            names.append(process.name())
    return {"programs": sorted(names)}

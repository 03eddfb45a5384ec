"""Programs of the lab that run on their own: started detached, logged, ended by their id."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from worker import errors

LOOK_EVERY_SECONDS = 0.05
LAST_LINES = 8

# Python warns of a Popen that is collected while its program runs; these are meant to go on.
_started: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Running:
    """A started program. `started_at` (unix seconds, of the kernel) tells it from a later process
    that was given the same id.
    """

    name: str
    pid: int
    started_at: float
    log: Path


def start(
    name: str, command: Sequence[str], *, environment: dict[str, str], folder: Path
) -> Running:
    """Start a program in a session of its own, in `folder`, its output in `folder/name.log`.

    :raises ToolError: if it cannot be run at all.
    """
    log = folder / f"{name}.log"
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise errors.ToolError(
            f"{name} cannot be run: {error}", fix=f"see whether {command[0]} is a program"
        ) from error
    _started[process.pid] = process
    return adopt(name, process.pid, log)


def adopt(name: str, pid: int, log: Path) -> Running:
    """A program that runs already."""
    return Running(name, pid, psutil.Process(pid).create_time(), log)


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this very Python."""
    return [sys.executable, "-m", module, *arguments]


def is_alive(running: Running) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(running.pid)
        return process.create_time() == running.started_at and (
            process.status() != psutil.STATUS_ZOMBIE
        )
    return False


async def wait_for_line(
    running: Running, wanted: Callable[[str], bool], *, within_seconds: float
) -> str:
    """The first line of its log that is wanted.

    Another process's log has no event to wait for, so it is looked at.

    :raises ToolError: if it ends first, or the time is over; with the last lines of its log.
    """
    deadline = asyncio.get_running_loop().time() + within_seconds
    while True:
        lines = running.log.read_text(encoding="utf-8", errors="replace").splitlines()
        found = next((line for line in lines if wanted(line)), None)
        if found is not None:
            return found
        if not is_alive(running):
            raise _said(running, f"{running.name} ended while it started", lines)
        if asyncio.get_running_loop().time() > deadline:
            raise _said(running, f"{running.name} was not ready in {within_seconds:g} s", lines)
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def _said(running: Running, problem: str, lines: list[str]) -> errors.ToolError:
    said = "\n".join(lines[-LAST_LINES:]) or "nothing"
    return errors.ToolError(f"{problem}; it said:\n{said}", fix=f"see {running.log}")


async def stop(running: Running, *, within_seconds: float = 10.0) -> None:
    """End it: SIGTERM, and SIGKILL for it and all its children where that is not enough."""
    if is_alive(running):
        await asyncio.to_thread(_end, running.pid, within_seconds)


def _end(pid: int, within_seconds: float) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        process.terminate()
        _, left = psutil.wait_procs([process], timeout=within_seconds)
        survivors = family if left else [p for p in family[1:] if p.is_running()]
        for survivor in survivors:
            with contextlib.suppress(psutil.NoSuchProcess):
                survivor.kill()
        psutil.wait_procs(survivors, timeout=within_seconds)

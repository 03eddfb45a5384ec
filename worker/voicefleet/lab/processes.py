"""Programs of the lab that run on their own: started detached, logged, ended by their id."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM

import psutil

from voicefleet import errors

LOOK_EVERY_SECONDS = 0.05
LAST_LINES = 8
# livekit-server ignores a first SIGTERM in its first 100 ms, and waits at one for every participant
# to leave; the second one ends it at once (cmd/server/main.go and pkg/service/server.go, Stop).
STOP_SIGNALS_AND_SECONDS = ((SIGTERM, 1.0), (SIGTERM, 10.0), (SIGKILL, 5.0))

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
    name: str,
    command: Sequence[str],
    *,
    environment: dict[str, str],
    folder: Path,
    cwd: Path | None = None,
) -> Running:
    """Start a program in a session of its own, in `cwd` or `folder`, its output in
    `folder/name.log`.

    :raises ToolError: if it cannot be run at all.
    """
    log = folder / f"{name}.log"
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=cwd or folder,
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
    return Running(name, process.pid, psutil.Process(process.pid).create_time(), log)


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
        # The last line may be half written.
        whole, _, _ = running.log.read_text(encoding="utf-8", errors="replace").rpartition("\n")
        found = next((line for line in whole.splitlines() if wanted(line)), None)
        if found is not None:
            return found
        if not is_alive(running):
            raise failed(running, "ended while it started")
        if asyncio.get_running_loop().time() > deadline:
            raise failed(running, f"was not ready within {within_seconds:g} s")
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def failed(running: Running, how: str) -> errors.ToolError:
    """What to raise for a program that did not come up: the error and the fix that it gave, as each
    of ours does, or else the last lines of its log.
    """
    lines = running.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
    if problems := _after(errors.PROBLEM, lines):
        fixes = "; ".join(_after(errors.FIX, lines))
        return errors.ToolError(
            f"{running.name} {how}: {'; '.join(problems)}", fix=f"{fixes} (its log: {running.log})"
        )
    said = "\n".join(lines) or "nothing"
    return errors.ToolError(
        f"{running.name} {how}; it said:\n{said}", fix=f"see {running.log}, or run it by hand"
    )


def _after(mark: str, lines: Sequence[str]) -> list[str]:
    return [line.removeprefix(mark) for line in lines if line.startswith(mark)]


async def stop(running: Running) -> None:
    """End it, and what children it leaves; nothing happens if it has ended already."""
    if is_alive(running):
        await asyncio.to_thread(_end, running.pid)
    if started := _started.pop(running.pid, None):
        started.wait()


async def kill(running: Running) -> None:
    """End it at once, with every process of its session: also those it left when it ended."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == running.pid:
                process.kill()
    await stop(running)


def _end(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        children = process.children(recursive=True)
        for number, limit_seconds in STOP_SIGNALS_AND_SECONDS:
            process.send_signal(number)
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(limit_seconds)
                break
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=STOP_SIGNALS_AND_SECONDS[-1][1])

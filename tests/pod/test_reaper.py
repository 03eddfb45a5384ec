"""What killed calls leave behind is ended and reaped: first in a process of its own, as the parent
of a pod is one, and then each rule in the test's process, whose child is what an orphan becomes.
"""

import asyncio
import contextlib
import ctypes
import json
import logging
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.waiting import wait_until
from voicefleet.job import descendants
from voicefleet.pod import reaper as reaper_module
from voicefleet.pod.phase import PodState
from voicefleet.pod.reaper import Reaper, children

# A parent with a Reaper and one program of its own; a job with programs that it forgets.
PARENT = """
import asyncio, json, os, signal, subprocess, sys, time
from voicefleet.job import descendants
from voicefleet.pod import reaper as module
from voicefleet.pod.phase import PodState
from voicefleet.pod.reaper import Reaper, children

module.CALM_SECONDS = 0.2
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print(flush=True); time.sleep(60)"
)

def job():
    # As every job does; else what forks twice would be the parent's own while the call is on.
    descendants.adopt_orphans()
    # One short, one long, one that has forked twice and left the session, one that ignores SIGTERM.
    subprocess.Popen(["sleep", "0.1"])
    subprocess.Popen(["sleep", "60"])
    subprocess.run(["sh", "-c", "setsid sleep 61 & exit 0"])
    stubborn = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    stubborn.stdout.readline()
    time.sleep(60)

async def main():
    own = subprocess.Popen(["sleep", "62"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state = PodState()
    reaper = Reaper(state)
    async with reaper.reaping():
        pid = os.fork()
        if pid == 0:
            # Or whoever reads the output of this process waits for them.
            quiet = os.open(os.devnull, os.O_RDWR)
            os.dup2(quiet, 1), os.dup2(quiet, 2)
            job()
        await asyncio.sleep(1.5)
        {before}
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        reaper.job_ended(pid)
        await asyncio.sleep({wait})
        left = children() - {own.pid}
    own_lives = own.poll() is None
    own.kill(); own.wait()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    print(json.dumps({"left": len(left), "own_lives": own_lives}))

asyncio.run(main())
"""


def parent(*, before: str = "", wait: float = 4.5) -> dict[str, object]:
    code = PARENT.replace("{before}", before or "pass").replace("{wait}", str(wait))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a process its orphans")
def test_what_a_killed_call_has_left_is_ended_and_reaped_and_the_pods_own_programs_live() -> None:
    """Three killed calls with three programs each: nine zombies of process 1, and live programs."""
    assert parent() == {"left": 0, "own_lives": True}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a process its orphans")
def test_jobs_that_became_children_because_the_forkserver_died_are_left_alone() -> None:
    job = "other = subprocess.Popen(['sleep', '63'], stdout=-3, stderr=-3)"
    assert parent(before=f"{job}; state.job_pids.add(other.pid)") == {"left": 1, "own_lives": True}


def test_the_children_of_this_process_are_seen() -> None:
    with subprocess.Popen(["sleep", "60"]) as program:
        assert program.pid in children()
        program.kill()
    assert program.pid not in children()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's files are Linux's")
def test_without_the_kernels_list_the_process_table_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_: "")
    with subprocess.Popen(["sleep", "60"]) as program:
        assert program.pid in children()
        program.kill()


# The rules, one by one.

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a process its orphans")
STUBBORN = ["sh", "-c", "trap '' TERM; echo; while true; do sleep 1; done"]
# linux/prctl.h
PR_GET_CHILD_SUBREAPER = 37


class Programs:
    """Children of this process, each as an orphan would be; killed when the test is over."""

    def __init__(self) -> None:
        self._started = list[subprocess.Popen[bytes]]()

    def start(self, *command: str) -> int:
        program = subprocess.Popen(command or ["sleep", "600"], stdout=subprocess.PIPE)
        self._started.append(program)
        if command:
            assert program.stdout is not None
            program.stdout.readline()
        return program.pid

    def end_of(self, pid: int) -> int:
        """What ended it, as its parent is told; not more than a moment ago."""
        return next(p for p in self._started if p.pid == pid).wait(5)

    def end(self) -> None:
        for program in self._started:
            program.kill()
            # One that the reaper had reaped is none any more.
            with contextlib.suppress(ChildProcessError):
                program.wait()
            assert program.stdout is not None
            program.stdout.close()


@pytest.fixture
def programs() -> Iterator[Programs]:
    programs = Programs()
    yield programs
    programs.end()


@asynccontextmanager
async def reaping(
    monkeypatch: pytest.MonkeyPatch,
    *,
    sweep_seconds: float = 600.0,
    calm_seconds: float = 600.0,
    grace_seconds: float = 600.0,
    state: PodState | None = None,
) -> AsyncIterator[Reaper]:
    """A reaper at work; what is not given is so long that it does not come in a test."""
    monkeypatch.setattr(reaper_module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(reaper_module, "SWEEP_SECONDS", sweep_seconds)
    monkeypatch.setattr(reaper_module, "CALM_SECONDS", calm_seconds)
    monkeypatch.setattr(descendants, "GRACE_SECONDS", grace_seconds)
    reaper = Reaper(state or PodState())
    async with reaper.reaping():
        yield reaper


async def gone(pid: int) -> None:
    """It has ended, and been reaped."""
    await wait_until(lambda: pid not in children(), because="the orphan is reaped")


@LINUX
async def test_after_a_death_a_new_child_is_ended_politely_and_reaped(
    monkeypatch: pytest.MonkeyPatch, programs: Programs
) -> None:
    own = programs.start()
    state = PodState()
    async with reaping(monkeypatch, state=state) as reaper:
        # The jobs are children of this process where the forkserver has died.
        job, orphan = programs.start(), programs.start()
        state.job_pids.add(job)
        reaper.job_ended(1)
        await gone(orphan)
        late = programs.start()
        await gone(late)
        assert {own, job} <= children()


@LINUX
async def test_an_orphan_that_ignores_sigterm_is_killed_when_its_grace_is_over(
    monkeypatch: pytest.MonkeyPatch, programs: Programs
) -> None:
    async with reaping(monkeypatch, grace_seconds=0.3) as reaper:
        orphan = programs.start(*STUBBORN)
        reaper.job_ended(1)
        await asyncio.sleep(0.1)
        assert orphan in children()
        await gone(orphan)


@LINUX
async def test_what_is_left_when_the_pod_ends_is_killed(
    monkeypatch: pytest.MonkeyPatch, programs: Programs
) -> None:
    async with reaping(monkeypatch) as reaper:
        stubborn = programs.start(*STUBBORN)
        reaper.job_ended(1)
        await asyncio.sleep(0.1)
        # Nobody has looked since this one came.
        unseen = programs.start()
        assert {stubborn, unseen} <= children()
    assert programs.end_of(stubborn) == -signal.SIGKILL
    # This one may have ended of the SIGTERM before, and been reaped.
    programs.end_of(unseen)
    assert unseen not in children()


@LINUX
async def test_what_the_pod_starts_while_no_job_has_died_is_its_own(
    monkeypatch: pytest.MonkeyPatch, programs: Programs
) -> None:
    """The process for inference, say, which LiveKit starts again."""
    async with reaping(monkeypatch, calm_seconds=0.02) as reaper:
        own = programs.start()
        await asyncio.sleep(0.2)
        reaper.job_ended(1)
        orphan = programs.start()
        await gone(orphan)
        assert own in children()


@LINUX
async def test_long_after_a_death_a_new_child_is_the_pods_own_again(
    monkeypatch: pytest.MonkeyPatch, programs: Programs
) -> None:
    async with reaping(monkeypatch, sweep_seconds=0.2, calm_seconds=0.02) as reaper:
        reaper.job_ended(1)
        await asyncio.sleep(0.5)
        own = programs.start()
        await asyncio.sleep(0.2)
        assert own in children()
        # And after the next death it stays.
        reaper.job_ended(2)
        orphan = programs.start()
        await gone(orphan)
        assert own in children()


@LINUX
async def test_this_process_adopts_orphans_only_while_it_looks_after_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def adopts() -> bool:
        answer = ctypes.c_int(-1)
        ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
        return bool(answer.value)

    assert not adopts()
    async with reaping(monkeypatch):
        assert adopts()
    assert not adopts()


async def test_where_nobody_gives_it_orphans_it_ends_nothing_and_says_so(
    monkeypatch: pytest.MonkeyPatch, programs: Programs, caplog: pytest.LogCaptureFixture
) -> None:
    """On macOS, whose children are the pod's own alone."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(descendants, "adopt_orphans", lambda: False)
    async with reaping(monkeypatch, grace_seconds=0.0) as reaper:
        own = programs.start()
        reaper.job_ended(1)
        await asyncio.sleep(0.1)
        assert own in children()
    assert "orphans of a killed call are not ended on this system" in caplog.text

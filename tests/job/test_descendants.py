"""The programs that a process started: all are found, and ended."""

import asyncio
import ctypes
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from voicefleet.job import descendants

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")

# What a job is, with programs of every kind; prints their pids, and what became of them.
PROGRAM = """
import json, os, subprocess, sys, time
import psutil
from voicefleet.job import descendants

PROGRAMS = {
    "plain": "exec sleep 60",
    "of a shell": "sleep 60; true",
    "stubborn": "trap '' TERM; while true; do sleep 1; done",
    "stopped": "kill -STOP $$; sleep 60",
    "orphan": "setsid env -i sleep 61 & echo $! > orphan",
    "breeder": "trap 'setsid sleep 62 & echo $! > bred; exit 0' TERM; while :; do sleep 0.1; done",
}
assert descendants.adopt_orphans()
started = {name: subprocess.Popen(["sh", "-c", text]) for name, text in PROGRAMS.items()}
started["orphan"].wait()
time.sleep(0.5)
began_at = time.monotonic()
descendants.end_descendants(grace_seconds=1.0)
print(json.dumps({
    "seconds": time.monotonic() - began_at,
    "codes": {name: one.wait(5) for name, one in started.items()},
    "pids": [one.pid for one in started.values()],
}), flush=True)
"""


@pytest.fixture
def told(tmp_path: Path) -> Any:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def is_alive(pid: int) -> bool:
    """A zombie is not: whoever adopted it may reap it late."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_every_descendant_has_ended_politely_where_it_can(tmp_path: Path, told: Any) -> None:
    """Whatever a call had started and forgotten lived on for as long as the pod."""
    assert told["codes"] == {
        "plain": -15,
        "of a shell": -15,
        "stubborn": -9,
        "stopped": -9,
        "orphan": 0,
        "breeder": 0,
    }
    left = [int((tmp_path / name).read_text()) for name in ("orphan", "bred")]
    assert [pid for pid in [*left, *told["pids"]] if is_alive(pid)] == []
    assert 1.0 <= told["seconds"] < 3.0


def test_a_process_without_descendants_ends_at_once() -> None:
    code = (
        "import time; from voicefleet.job import descendants; began_at = time.monotonic();"
        "descendants.end_descendants(); print(time.monotonic() - began_at)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.5


# In the test's own process, whose descendants are said to be these.


class Descendants:
    """Stands in for psutil's view of them; programs that run, and made ones."""

    Error, STATUS_ZOMBIE = psutil.Error, psutil.STATUS_ZOMBIE

    def __init__(self) -> None:
        self.found = list[Any]()
        self.fails = False
        self.programs = list[subprocess.Popen[bytes]]()

    def start(self, text: str) -> subprocess.Popen[bytes]:
        program = subprocess.Popen(["sh", "-c", text], stdout=subprocess.PIPE)
        self.programs.append(program)
        assert program.stdout is not None
        program.stdout.readline()
        self.found.append(psutil.Process(program.pid))
        return program

    def Process(self) -> Any:
        return self

    def children(self, *, recursive: bool) -> list[Any]:
        if self.fails:
            raise psutil.AccessDenied
        return self.found if recursive else []


class Stuck:
    """One that hangs in the kernel: no signal ends it."""

    def __init__(self) -> None:
        self.heard = list[str]()

    def terminate(self) -> None:
        self.heard.append("terminate")

    def kill(self) -> None:
        self.heard.append("kill")

    def status(self) -> str:
        return psutil.STATUS_DISK_SLEEP

    def name(self) -> str:
        return "stuck"


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[Descendants]:
    ours = Descendants()
    monkeypatch.setattr(descendants, "psutil", ours)
    yield ours
    for program in ours.programs:
        program.kill()
        program.wait()
        assert program.stdout is not None
        program.stdout.close()


def test_a_program_is_asked_to_end_and_killed_only_when_its_grace_is_over(
    ours: Descendants, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    polite = ours.start("echo; exec sleep 60")
    stubborn = ours.start("trap '' TERM; echo; while true; do sleep 0.1; done")
    descendants.end_descendants(grace_seconds=0.3)
    assert (polite.wait(5), stubborn.wait(5)) == (-15, -9)
    # Their names alone, and once: arguments may hold what a caller said.
    [told] = [r.__dict__["programs"] for r in caplog.records if "ending programs" in str(r.msg)]
    assert len(told) == 2
    assert set(told) <= {"sh", "sleep"}


def test_a_program_that_cannot_be_killed_is_told_of_and_keeps_no_process(
    ours: Descendants, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descendants, "KILLED_WITHIN_SECONDS", 0.1)
    stuck = Stuck()
    ours.found = [stuck]
    began_at = time.monotonic()
    descendants.end_descendants(grace_seconds=0.1)
    assert time.monotonic() - began_at < 2
    # Asked once, and then killed as often as it is looked at.
    assert stuck.heard[:2] == ["terminate", "kill"]
    assert "terminate" not in stuck.heard[1:]
    [record] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.__dict__["programs"] == ["stuck"]


def test_what_has_ended_or_cannot_be_seen_holds_up_nothing(ours: Descendants) -> None:
    class Gone(Stuck):
        def status(self) -> str:
            raise psutil.NoSuchProcess(1)

    class Zombie(Stuck):
        def status(self) -> str:
            return psutil.STATUS_ZOMBIE

    gone, zombie = Gone(), Zombie()
    ours.found = [gone, zombie]
    descendants.end_descendants()
    ours.fails = True
    descendants.end_descendants()
    assert gone.heard + zombie.heard == []


async def test_they_are_ended_when_the_task_that_waits_for_it_is_cancelled(
    ours: Descendants,
) -> None:
    program = ours.start("echo; exec sleep 60")
    waiting = asyncio.create_task(descendants.end_with_the_loop())
    await asyncio.sleep(0)
    assert program.poll() is None
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert program.wait(5) == -15


def test_where_there_is_no_such_call_no_orphan_is_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS the C library has no prctl."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert not descendants.adopt_orphans()
    descendants.leave_orphans()

"""What killed calls leave behind is ended and reaped, in a process of its own for each test, as the
parent of a pod is one.
"""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from voicefleet.pod.reaper import children

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

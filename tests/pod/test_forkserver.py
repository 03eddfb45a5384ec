"""The forkserver that is a fork of the parent, with Python's own multiprocessing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

# What a worker does, with a variable of a module for all that it imports. For each line that it is
# given, it runs a job and prints what that job knows.
PROGRAM = """
import json, multiprocessing, os, pathlib, sys
import imported
from voicefleet.pod import zygote

def job(pipe):
    pipe.send({
        "forkserver": os.getppid(),
        "imported in": imported.IN,
        "environment": {name: os.environ.get(name) for name in ("LENT", "TAKEN")},
        "in /proc": pathlib.Path("/proc/self/environ").read_text(),
    })

def load():
    imported.IN = os.getpid()
    raise ImportError("to be said by whoever imports it in earnest")

if __name__ == "__main__":
    zygote.fork(load)
    del os.environ["TAKEN"]
    os.environ["LENT"] = "yes"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["imported"])
    print("ready", flush=True)
    for line in sys.stdin:
        ours, its = context.Pipe()
        process = context.Process(target=job, args=(its,))
        process.start()
        print(json.dumps(ours.recv()), flush=True)
        process.join()
"""


@dataclass(frozen=True, slots=True)
class Parent:
    running: subprocess.Popen[str]

    @property
    def fork(self) -> psutil.Process:
        [only] = psutil.Process(self.running.pid).children()
        return only

    def job(self) -> Any:
        assert self.running.stdin is not None
        assert self.running.stdout is not None
        print(file=self.running.stdin, flush=True)
        return json.loads(self.running.stdout.readline())


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Parent]:
    (tmp_path / "imported.py").write_text("IN = None\n")
    (tmp_path / "program.py").write_text(PROGRAM)
    pipe = subprocess.PIPE
    command = ["env", "TAKEN=a secret", sys.executable, "program.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=pipe, stdout=pipe, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        yield Parent(running)
        running.kill()


def kill(fork: psutil.Process) -> None:
    fork.kill()
    while fork.is_running() and fork.status() != psutil.STATUS_ZOMBIE:  # reaped by the next start
        time.sleep(0.01)


def test_jobs_have_what_the_parent_imported(parent: Parent) -> None:
    fork = parent.fork
    told = parent.job()
    assert told["forkserver"] == fork.pid
    assert told["imported in"] == parent.running.pid


def test_jobs_have_the_environment_of_when_the_forkserver_is_wanted(parent: Parent) -> None:
    """A secret that the parent takes out of it after the fork is in no job."""
    told = parent.job()
    assert told["environment"] == {"LENT": "yes", "TAKEN": None}
    assert "TAKEN" not in told["in /proc"]


def test_where_the_fork_has_died_an_ordinary_forkserver_is_started(parent: Parent) -> None:
    fork = parent.fork
    kill(fork)
    assert parent.job()["forkserver"] not in (fork.pid, parent.running.pid)


def test_a_forkserver_that_died_is_followed_by_an_ordinary_one(parent: Parent) -> None:
    fork = parent.fork
    first = parent.job()
    kill(fork)
    second = parent.job()
    assert (first["forkserver"], first["imported in"]) == (fork.pid, parent.running.pid)
    assert second["forkserver"] not in (fork.pid, parent.running.pid)
    assert second["imported in"] is None
    assert second["environment"] == {"LENT": "yes", "TAKEN": None}


def test_a_sigterm_to_the_group_leaves_the_fork_to_its_parent(parent: Parent) -> None:
    fork = parent.fork
    fork.send_signal(signal.SIGTERM)
    assert parent.job()["forkserver"] == fork.pid


@pytest.mark.parametrize("jobs", [0, 1])
def test_the_fork_ends_with_its_parent(parent: Parent, jobs: int) -> None:
    fork = parent.fork
    for _ in range(jobs):
        parent.job()
    os.kill(parent.running.pid, signal.SIGKILL)
    gone, _ = psutil.wait_procs([fork], timeout=10)
    assert gone

"""The forkserver that is a fork of the parent, with Python's own multiprocessing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from voicefleet.pod import forkserver

# What a pod does, with a variable of a module for all that it imports. For each line that it is
# given, it runs a job and prints what that job knows.
PROGRAM = """
import json, multiprocessing, os, pathlib, sys
import imported
from voicefleet.pod import forkserver

def descriptors():
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}").partition(":")[0])
        except FileNotFoundError:
            pass  # of the listing itself
    return sorted(found)

def job(pipe):
    pipe.send({
        "forkserver": os.getppid(),
        "imported in": imported.IN,
        "environment": {name: os.environ.get(name) for name in ("LENT", "TAKEN")},
        "in /proc": pathlib.Path("/proc/self/environ").read_text(),
        "threads of the forkserver": len(os.listdir(f"/proc/{os.getppid()}/task")),
        "descriptors": descriptors(),
    })

def load():
    imported.IN = os.getpid()
    exec(os.environ.get("LOAD", ""))
    raise ImportError("to be said by whoever imports it in earnest")

if __name__ == "__main__":
    forked = forkserver.fork(load)
    del os.environ["TAKEN"]
    os.environ["LENT"] = "yes"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["imported"])
    print("ready", forked, len(os.listdir("/proc/self/task")), flush=True)
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
    has_forked: bool
    threads: int

    @property
    def fork(self) -> psutil.Process:
        [only] = psutil.Process(self.running.pid).children()
        return only

    def job(self) -> Any:
        assert self.running.stdin is not None
        assert self.running.stdout is not None
        print(file=self.running.stdin, flush=True)
        return json.loads(self.running.stdout.readline())


@contextmanager
def running(folder: Path, load: str = "") -> Iterator[Parent]:
    (folder / "imported.py").write_text("IN = None\n")
    (folder / "program.py").write_text(PROGRAM)
    pipe = subprocess.PIPE
    command = ["env", "TAKEN=a secret", f"LOAD={load}", sys.executable, "program.py"]
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        ready, forked, threads = process.stdout.readline().split()
        assert ready == "ready"
        yield Parent(process, forked == "True", int(threads))
        process.kill()


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Parent]:
    with running(tmp_path) as parent:
        yield parent


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


def test_no_copy_of_what_the_fork_was_sent_is_in_a_job(parent: Parent) -> None:
    """Every job inherited the listening socket and the pipe of the forkserver a second time."""
    fork = parent.fork
    forked = parent.job()
    kill(fork)
    ordinary = parent.job()
    assert forked["forkserver"] == fork.pid
    assert ordinary["forkserver"] != fork.pid
    assert forked["descriptors"] == ordinary["descriptors"]


@pytest.mark.parametrize("native", ["numpy", "onnxruntime", "livekit.plugins.silero"])
def test_native_libraries_have_no_thread_when_the_fork_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: str
) -> None:
    """OpenBLAS and onnxruntime start threads when they are imported, which only the kernel counts:
    the fork was made beside two of them. OpenBLAS ends its own before a fork; that of onnxruntime
    is its report to Microsoft.
    """
    monkeypatch.delenv("CI", raising=False)  # where onnxruntime reports nothing
    with running(tmp_path, load=f"import {native}") as parent:
        assert parent.threads == 1
        assert parent.has_forked
        fork = parent.fork
        told = parent.job()
    assert told["forkserver"] == fork.pid
    assert told["threads of the forkserver"] == 1


@pytest.mark.parametrize(
    "load",
    [
        "import threading; threading.Timer(60, print).start()",
        "import os; os.environ['ORT_DISABLE_TELEMETRY'] = '0'; import onnxruntime",
    ],
)
def test_beside_a_thread_no_fork_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: str
) -> None:
    """A lock that the thread holds in that moment would be locked in every job, for ever."""
    monkeypatch.delenv("CI", raising=False)
    with running(tmp_path, load=load) as parent:
        assert not parent.has_forked
        told = parent.job()
        assert told["imported in"] is None
        assert told["forkserver"] != parent.running.pid


def test_where_jobs_are_spawned_there_is_no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS the fork waited for an order that never came."""
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "1")  # set by what is tested, and restored
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    assert forkserver.fork(lambda: pytest.fail("loaded")) is False

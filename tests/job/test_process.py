"""A job as a process among others, LiveKit's own: signals to it, and programs that it starts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.job.test_descendants import is_alive

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers"),
    pytest.mark.usefixtures("clean_environment"),
]

ROOT = Path(__file__).parent.parent.parent

# Tells what it found in facts.json; ends its call when there is a file that tells it to.
AGENT = """
import asyncio, json, multiprocessing, os, signal, subprocess, time
from pathlib import Path
from livekit.agents import AgentServer, JobContext

server = AgentServer()

def terminated(program):
    program.terminate()
    return program.wait(10)

def terminated_fork():
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    time.sleep(0.5)
    process.terminate()
    process.join(10)
    return process.exitcode

@server.rtc_session(agent_name="probe")
async def entrypoint(ctx: JobContext) -> None:
    facts = {
        "job": os.getpid(),
        "a program": terminated(subprocess.Popen(["sleep", "60"])),
        "a fork": terminated_fork(),
        "left": [subprocess.Popen(["sh", "-c", text]).pid for text in (
            "exec sleep 60",
            "trap '' TERM; while true; do sleep 1; done",
        )],
    }
    orphan = "setsid env -i sleep 61 > /dev/null & echo $!"
    facts["left"].append(int(subprocess.check_output(["sh", "-c", orphan])))
    Path("facts.part").write_text(json.dumps(facts))
    Path("facts.part").rename("facts.json")
    while not Path("end").exists():
        await asyncio.sleep(0.05)
    # And a thread that waits for one.
    asyncio.get_running_loop().run_in_executor(None, subprocess.run, ["sleep", "600"])
    await asyncio.sleep(0.2)
    ctx.shutdown("done")
"""


@dataclass(frozen=True, slots=True)
class Running:
    parent: subprocess.Popen[str]
    folder: Path
    told: Any

    @property
    def job(self) -> psutil.Process:
        return psutil.Process(self.told["job"])

    def end_call(self) -> None:
        (self.folder / "end").touch()

    def line_that_begins(self, begin: str) -> str:
        assert self.parent.stdout is not None
        return next(line for line in self.parent.stdout if line.startswith(begin))


@contextmanager
def running(folder: Path, method: str) -> Iterator[Running]:
    (folder / "probe.py").write_text(AGENT)
    environment = os.environ | {"VOICEFLEET_AGENT": "probe.py", "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "tests.job.real_job", method]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=pipe,
        stdout=pipe,
        text=True,
        start_new_session=True,
    ) as parent:
        try:
            facts = folder / "facts.json"
            wait_for(facts.exists, because="the call has begun", timeout_seconds=100)
            yield Running(parent, folder, json.loads(facts.read_text()))
        finally:
            for process in psutil.Process(parent.pid).children(recursive=True):
                process.kill()
            parent.kill()


def wait_for(so: Callable[[], bool], *, because: str, timeout_seconds: float = 20) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not so():
        assert time.monotonic() < deadline, f"not so: {because}"
        time.sleep(0.02)


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if is_alive(pid)]


@pytest.mark.parametrize("method", ["forked", "forkserver", "spawn"])
def test_a_job_goes_on_at_a_signal_to_the_group_and_takes_its_programs_with_it(
    tmp_path: Path, method: str
) -> None:
    """Jobs ignored SIGTERM, and so did every program that one started: MCP servers over stdio and
    ffmpeg could not be terminated. What a call had forgotten outlived it, and one that a thread
    waited for kept the process, too.
    """
    with running(tmp_path, method) as call:
        assert call.told["a program"] == -signal.SIGTERM
        assert call.told["a fork"] == -signal.SIGTERM
        relatives = [call.job, *call.job.parents()]
        ours = [p for p in relatives if os.getpgid(p.pid) == call.parent.pid]
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            # Not to the programs, which end of it.
            for process in ours:
                process.send_signal(number)
            time.sleep(0.2)
        assert alive([p.pid for p in ours]) == [p.pid for p in ours]
        assert alive(call.told["left"]) == call.told["left"]
        job = call.job
        call.end_call()
        assert "ended with 0" in call.line_that_begins("the job ended")
        assert alive(call.told["left"]) == []
        assert not job.is_running()


def test_what_a_killed_job_leaves_becomes_a_child_of_the_parent(tmp_path: Path) -> None:
    """By this the pod finds it: nothing of a living call does, however it was started."""
    with running(tmp_path, "forked") as call:
        left = [psutil.Process(pid) for pid in call.told["left"]]
        assert {process.ppid() for process in left} == {call.told["job"]}
        call.job.kill()
        call.line_that_begins("the job ended")
        assert {process.ppid() for process in left} == {call.parent.pid}

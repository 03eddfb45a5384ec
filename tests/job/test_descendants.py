"""The programs that a process started: all are found, and ended."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

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

"""A process tree's memory and CPU, of real processes."""

import sys
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_until
from voicefleet.lab import processes
from voicefleet.lab.compare.outcome import Subject
from voicefleet.lab.compare.stage import Stage, cpu_seconds, weigh
from voicefleet.lab.livekit_server import LiveKitServer

# A worker, its forkserver, and two jobs: one holds 64 MiB, the other burns CPU and ends.
TREE = """
import subprocess, sys, time
JOBS = '''
import subprocess, sys, time
holds = subprocess.Popen([sys.executable, "-c", "x = b'1' * 2**26; print('holds', flush=True); \
import time; time.sleep(60)"])
subprocess.run([sys.executable, "-c", "import time\\\\nwhile time.process_time() < 0.5: pass"])
print("burnt", flush=True)
time.sleep(60)
'''
subprocess.Popen([sys.executable, "-c", JOBS])
time.sleep(60)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells PSS")


async def test_a_tree_is_weighed_with_its_jobs_and_with_the_cpu_of_what_has_ended(
    tmp_path: Path,
) -> None:
    worker = processes.start(
        "worker", (sys.executable, "-c", TREE), environment={}, folder=tmp_path
    )
    livekit = LiveKitServer("ws://127.0.0.1:9", "key", "secret", worker)
    stage = Stage(Subject.OURS, livekit, worker)
    try:
        await processes.wait_for_line(worker, lambda line: "holds" in line, within_seconds=30)
        await processes.wait_for_line(worker, lambda line: "burnt" in line, within_seconds=30)
        weight = weigh(stage)
        assert len(weight.jobs) == 1
        assert 64 <= weight.jobs[0] < weight.total
        assert weight.calls == ()
        await wait_until(lambda: cpu_seconds(stage) >= 0.5, because="0.5 s were burnt")
    finally:
        await processes.kill(worker)
    assert not psutil.pid_exists(worker.pid)

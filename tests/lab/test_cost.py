"""What calls and telemetry cost: the call's process is found, and of the whole tree also what has
ended is counted.
"""

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from tests.waiting import wait_until
from voicefleet.lab import cost
from voicefleet.lab.cost import Round

BUSY = "import time\nwhile time.process_time() < 0.3: pass"
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BUSY!r}])
print("done", flush=True)
sys.stdin.read()
"""


def test_the_cpu_of_a_child_that_ended_is_counted_with_its_parents() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        before = cost.tree_cpu_seconds(parent.pid)
        assert before >= 0.3
        assert cost.tree_cpu_seconds(os.getpid()) >= before
        parent.communicate()


# A worker: its forkserver, and of that one's two jobs one in a call: 50 MiB and half of a core.
IN_A_CALL = """
import socket, sys, time
line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
held = bytearray(50 * 1024**2)
while True:
    until = time.process_time() + 0.05
    while time.process_time() < until: pass
    time.sleep(0.05)
"""
FORKSERVER = f"""
import subprocess, sys, time
warm = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
call = subprocess.Popen([sys.executable, "-c", {IN_A_CALL!r}, sys.argv[1]])
sys.stdin.read()
call.kill(), warm.kill()
"""
WORKER = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {FORKSERVER!r}, sys.argv[1]])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="USS is Linux's")
async def test_the_process_of_a_call_is_found_and_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "STEADY_AFTER_SECONDS", 0.2)
    monkeypatch.setattr(cost, "WEIGH_EVERY_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as livekit:
        port = livekit.getsockname()[1]
        arguments = ("-c", WORKER, str(port))
        worker = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=subprocess.PIPE
        )
        scales = cost.Scales(worker.pid, f"ws://127.0.0.1:{port}")
        assert scales.footprint() is None
        weighing = asyncio.create_task(scales.weigh())
        await wait_until(lambda: len(scales._samples) > 10, because="the call is weighed")
        weighing.cancel()
        assert worker.stdin is not None
        worker.stdin.close()
        await worker.wait()
    found = scales.footprint()
    assert found is not None
    assert 50 < found.own_mib < 100
    # Two cores for all tests: it may be given less of one than it wants.
    assert 0.02 < found.cores < 0.9


def test_the_table_shows_each_round_and_what_a_difference_means() -> None:
    rounds = [Round(10.2, 10.0, 10.4), Round(10.1, 10.0, 10.0), Round(9.9, 10.0, 9.8)]
    text = cost.table(rounds)
    assert "      1   10.200   10.000   10.400    1.000    1.040" in text
    assert "with telemetry against without: 1.000 (1.000 to 1.010, n=3)" in text
    assert "one without against another: 1.000 (0.980 to 1.040, n=3)" in text


def test_a_bench_in_which_no_call_came_about_says_so() -> None:
    assert cost.table([]) == "no round of calls was measured"

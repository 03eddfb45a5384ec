"""What telemetry costs: the whole process tree is counted, also what has ended."""

import os
import subprocess
import sys

from worker.lab import cost
from worker.lab.cost import Round

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


def test_the_table_shows_each_round_and_how_far_they_are_apart() -> None:
    text = cost.table([Round(10.2, 10.0), Round(10.1, 10.0), Round(9.9, 10.0)])
    assert "1.020" in text
    assert "ratios of the rounds: min 0.990, median 1.010, max 1.020, n=3" in text

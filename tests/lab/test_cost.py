"""What telemetry costs: the whole process tree is counted, also what has ended."""

import os
import subprocess
import sys

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


def test_the_table_shows_each_round_and_what_a_difference_means() -> None:
    rounds = [Round(10.2, 10.0, 10.4), Round(10.1, 10.0, 10.0), Round(9.9, 10.0, 9.8)]
    text = cost.table(rounds)
    assert "      1   10.200   10.000   10.400    1.000    1.040" in text
    assert "with telemetry against without: 1.000 (1.000 to 1.010, n=3)" in text
    assert "one without against another: 1.000 (0.980 to 1.040, n=3)" in text


def test_a_bench_in_which_no_call_came_about_says_so() -> None:
    assert cost.table([]) == "no round of calls was measured"

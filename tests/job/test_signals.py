"""Signals to the group: a job leaves them to its parent, and what it starts hears them."""

import json
import signal
import subprocess
import sys

# In a process of its own: signals and what is done at a fork are the whole process's.
PROGRAM = """
import json, os, signal, subprocess, time
from voicefleet.job import signals

def ended_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def forked():
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(told, b"x")
        # In short sleeps: Python runs a handler between two bytecodes, so a signal that comes just
        # before one long sleep begins is handled when that ends.
        for _ in range(600):
            time.sleep(0.05)
        os._exit(0)
    os.read(ready, 1)
    os.kill(pid, signal.SIGTERM)
    return ended_of(pid)

def forked_with_a_handler_of_its_own():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    try:
        return forked()
    finally:
        signals.leave_to_the_parent()

def program():
    with subprocess.Popen(["sleep", "30"]) as one:
        one.terminate()
        return one.wait()

signals.leave_to_the_parent()
for number in signals.GROUP_SIGNALS:
    os.kill(os.getpid(), number)
told = {"lives": True, "program": program()}
signals.restore_in_forked_children()
told["fork"] = forked()
told["fork with a handler"] = forked_with_a_handler_of_its_own()
os.kill(os.getpid(), signal.SIGTERM)
print(json.dumps(told))
"""


def test_a_job_leaves_signals_to_its_parent_and_what_it_starts_can_be_terminated() -> None:
    """Ignored signals survive exec: `terminate()` of an MCP server or ffmpeg did nothing."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout) == {
        "lives": True,
        "program": -signal.SIGTERM,
        "fork": -signal.SIGTERM,
        "fork with a handler": 7,
    }

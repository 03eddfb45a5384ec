"""What is done before the fork leaves nothing that a fork would break."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# In a process of its own: modules are imported once.
FORKED = """
import os, sys, threading, time
from voicefleet.job import rehearsal
before = set(os.listdir("/proc/self/fd"))
rehearsal.rehearse()
assert threading.active_count() == 1, threading.enumerate()
assert set(os.listdir("/proc/self/fd")) == before
known = set(sys.modules)
pid = os.fork()
if pid:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
import asyncio, openai
from livekit.agents.utils import http_context
async def first_use():
    client = openai.AsyncOpenAI(api_key="unused")
    client.chat.completions, client.audio.speech, client.audio.transcriptions
    async with http_context.open():
        pass
asyncio.run(first_use())
late = sorted(set(sys.modules) - known)
assert not late, late
"""


def test_a_forked_process_imports_nothing_at_its_first_use_of_a_client() -> None:
    """`openai.lib.streaming.chat` alone stopped a call's audio for 0.2 s."""
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""What is imported before the fork, and how a file is read for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from voicefleet.job import shared


def written(folder: Path, text: bytes) -> str:
    path = folder / "phone_agent.py"
    path.write_bytes(text)
    return str(path)


def test_the_plugins_of_a_file_are_known_without_running_it(tmp_path: Path) -> None:
    text = b"""
import livekit.plugins.cartesia
from livekit.plugins import openai as llms, silero
from livekit.plugins.deepgram import STT
from voicefleet.providers import session
from voicefleet.providers.listener import listener
from . import mine
raise SystemExit("it ran")
def later():
    from livekit.plugins import google
"""
    assert shared.plugins(written(tmp_path, text)) == [
        "livekit.plugins.cartesia",
        "livekit.plugins.openai",
        "livekit.plugins.silero",
        "livekit.plugins.deepgram",
        "voicefleet.providers.session",
        "voicefleet.providers.listener",
    ]


@pytest.mark.parametrize("text", [b"def", b"\0", b"\xff"])
def test_a_file_that_is_no_python_has_no_plugins(tmp_path: Path, text: bytes) -> None:
    assert shared.plugins(written(tmp_path, text)) == []


def test_a_file_that_is_not_there_has_no_plugins() -> None:
    assert shared.plugins("nowhere/agent.py") == []


def test_the_plugins_of_a_module_are_known_without_running_it_or_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file that was named as a module nothing was read: each job imported its plugins anew."""
    text = "from voicefleet.providers import session\nraise SystemExit('it ran')\n"
    package = tmp_path / "clinic" / "phones"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("raise SystemExit('it ran')\n")
    (package / "reception.py").write_text(text)
    (tmp_path / "one_word.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert shared.plugins("clinic.phones.reception") == ["voicefleet.providers.session"]
    assert shared.plugins("one_word") == ["voicefleet.providers.session"]


def test_the_plugins_of_an_agent_that_ships_are_known_by_its_name() -> None:
    assert "voicefleet.build_session" in shared.plugins("assistant")


def test_what_a_file_uses_of_voicefleet_is_known_however_it_imports_it(tmp_path: Path) -> None:
    text = b"""
import voicefleet
from voicefleet import play_background_sound, __doc__
def entrypoint(ctx):
    voicefleet.build_session(ctx.proc).say(voicefleet.nothing)
"""
    assert shared.plugins(written(tmp_path, text)) == [
        "voicefleet.play_background_sound",
        "voicefleet.build_session",
    ]


@pytest.mark.parametrize("name", ["nobody", "no.such.module", "os.path.x", "sys", "", ".", "a..b"])
def test_a_module_that_has_no_source_has_no_plugins(name: str) -> None:
    assert shared.plugins(name) == []


# In a process of its own: modules are imported once.
FORKED = """
import os, sys, threading
from voicefleet.job import shared
before = set(os.listdir("/proc/self/fd"))
shared.rehearse()
assert threading.active_count() == 1, threading.enumerate()
assert set(os.listdir("/proc/self/fd")) == before
known = set(sys.modules)
pid = os.fork()
# OpenBLAS ends its own threads before a fork.
assert len(os.listdir("/proc/self/task")) == 1
if pid:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
import asyncio, openai
from livekit.agents.utils import http_context
async def first_use():
    client = openai.AsyncOpenAI(api_key="unused")
    client.models, client.chat.completions, client.audio.speech, client.audio.transcriptions
    async with http_context.open():
        pass
asyncio.run(first_use())
late = sorted(set(sys.modules) - known)
assert not late, late
"""


@pytest.mark.slow
def test_a_forked_process_imports_nothing_at_its_first_use_of_a_client() -> None:
    """`openai.lib.streaming.chat` alone stopped a call's audio for 0.2 s."""
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

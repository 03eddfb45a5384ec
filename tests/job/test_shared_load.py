"""What is really loaded before the fork: by the settings, and by what the agent file imports."""

import asyncio
import os
import sys
import threading
from pathlib import Path

import pytest

from voicefleet import settings as settings_module
from voicefleet.job import shared

pytestmark = pytest.mark.usefixtures("clean_environment")

FILE = """
import pathlib
import livekit.plugins.silero
from voicefleet import build_session
from livekit.agents import AgentServer, JobContext

pathlib.Path("it ran").touch()
server = AgentServer()

@server.rtc_session(agent_name="own")
async def entrypoint(ctx: JobContext) -> None: ...
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An agent file in the folder of the test, with a name that no other test imports."""
    name = f"preloaded_{abs(hash(tmp_path))}.py"
    (tmp_path / name).write_text(FILE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("VOICEFLEET_AGENT", name)
    return name


def loaded() -> None:
    settings = settings_module.load()
    shared.load(settings.agent, settings.providers)


def test_the_agent_file_itself_is_loaded_where_it_may_be(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICEFLEET_PRELOAD_AGENT", "true")
    loaded()
    assert Path("it ran").exists()
    assert file.removesuffix(".py") in sys.modules


def test_where_the_agent_file_may_not_be_loaded_only_what_it_imports_is(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may start a thread, whose locks would be locked in every job."""
    imported = list[str]()
    monkeypatch.setattr(shared, "_import", imported.append)
    monkeypatch.setenv("VOICEFLEET_PRELOAD_AGENT", "false")
    loaded()
    assert imported == ["livekit.plugins.silero", "voicefleet.build_session"]
    assert not Path("it ran").exists()
    assert file.removesuffix(".py") not in sys.modules


def test_what_is_imported_by_its_public_name_is_what_stands_behind_it(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`import voicefleet.build_session` would be no module; and without it nothing is imported."""
    monkeypatch.setenv("VOICEFLEET_PRELOAD_AGENT", "false")
    monkeypatch.delitem(sys.modules, "voicefleet.providers.session", raising=False)
    loaded()
    assert "voicefleet.providers.session" in sys.modules
    assert not Path("it ran").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's list of descriptors is Linux's")
def test_the_rehearsal_leaves_no_thread_no_descriptor_and_no_loop() -> None:
    """Whatever it left would be in every job."""
    shared.rehearse()  # what is imported once may keep a descriptor of its own
    threads, descriptors = threading.enumerate(), os.listdir("/proc/self/fd")
    shared.rehearse()
    assert threading.enumerate() == threads
    assert os.listdir("/proc/self/fd") == descriptors
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()

"""What is imported before the fork, and how a file is read for it."""

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

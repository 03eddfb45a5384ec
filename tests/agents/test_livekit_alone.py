"""The shipped agents are files that LiveKit runs without voicefleet."""

import sys
from pathlib import Path

import pytest
from livekit.agents.cli.discover import get_import_data

import voicefleet.agents

FOLDER = Path(voicefleet.agents.__file__).parent
AGENTS = sorted(path.parent.name for path in FOLDER.glob("*/agent.py"))


def test_every_folder_of_agents_is_an_agent() -> None:
    folders = sorted(p.name for p in FOLDER.iterdir() if p.is_dir() and p.name != "__pycache__")
    assert folders == AGENTS


@pytest.mark.parametrize("name", AGENTS)
def test_livekit_finds_the_server_of_the_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = get_import_data(path=FOLDER / name / "agent.py")
    assert found.import_string == f"voicefleet.agents.{name}.agent:server"

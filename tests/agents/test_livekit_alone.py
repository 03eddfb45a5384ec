"""The shipped agents are files that LiveKit runs without voicefleet."""

import shutil
import subprocess
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


LOAD = """
import sys
from voicefleet.job import agent_file
agent_file.load(sys.argv[1])
print([name for name in sys.modules if name.startswith(sys.argv[2])])
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_a_copy_of_one_is_whole(name: str, tmp_path: Path) -> None:
    """Its files imported those of the original: who changed their own saw no change."""
    shutil.copytree(FOLDER / name, tmp_path / "mine")
    original = f"voicefleet.agents.{name}"
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "mine" / "agent.py"), original],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "[]"

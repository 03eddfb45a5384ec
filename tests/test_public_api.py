"""What an agent file may import of voicefleet."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import voicefleet
from voicefleet.job import agent_file
from voicefleet.providers import keys

AGENTS = Path(voicefleet.__file__).parent / "agents"


@pytest.mark.parametrize("name", voicefleet.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(voicefleet, name)


def test_the_version_is_the_distributions() -> None:
    assert voicefleet.__version__ == version("voicefleet")


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'build_sesion'"):
        voicefleet.build_sesion  # noqa: B018


def test_the_import_of_voicefleet_imports_nothing_else_of_it_and_not_livekit() -> None:
    """The command line imports it, and LiveKit's framework takes seconds."""
    loaded = (
        "import sys, voicefleet;"
        " print([m for m in sys.modules if m.partition('.')[0] in ('livekit', 'voicefleet')])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == "['voicefleet']"


def test_the_agents_that_ship_use_no_more_of_our_providers_than_yours_may() -> None:
    inside = [path for path in AGENTS.rglob("*.py") if "voicefleet.providers" in path.read_text()]
    assert inside == []


@pytest.mark.parametrize(
    ("agent", "parts"),
    [
        ("assistant", keys.PIPELINE),
        ("triage", keys.PIPELINE),
        ("transcriber", frozenset({"stt"})),
        ("realtime", frozenset({"realtime"})),
    ],
)
def test_what_a_file_imports_tells_which_providers_it_wants(
    agent: str, parts: frozenset[keys.Part]
) -> None:
    """`settings_of` alone asks for none of them."""
    assert agent_file.load(agent).parts == parts

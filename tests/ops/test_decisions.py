"""The decisions: short, of one shape, and what they say of numbers and names is so."""

import re
from pathlib import Path

import pytest

from tests.architecture.test_house import private_livekit_names
from voicefleet.settings.pod import Pod

FOLDER = Path(__file__).parent.parent.parent / "ops" / "decisions"
DECISIONS = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
PARTS = ("Question", "Decision", "What it costs", "Think again")
LONGEST_WORDS = 300

each_decision = pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)


@each_decision
def test_a_decision_has_half_a_page_and_says_what_it_costs(path: Path) -> None:
    text = path.read_text()
    assert [part for part in PARTS if f"**{part}" not in text] == []
    assert len(text.split()) <= LONGEST_WORDS


@each_decision
def test_what_a_decision_names_exists(path: Path) -> None:
    root = FOLDER.parent.parent
    linked = re.findall(r"\]\((?!https?://)([^)]+)\)", path.read_text())
    named = re.findall(r"`((?:worker|tests|ops)/[\w./]+)`", path.read_text())
    assert [link for link in linked if not (FOLDER / link).exists()] == []
    assert [name for name in named if not (root / name).exists()] == []


def test_the_index_has_every_decision() -> None:
    index = (FOLDER / "README.md").read_text()
    assert set(re.findall(r"\]\((\S+\.md)\)", index)) == {path.name for path in DECISIONS}


def test_the_sum_of_a_stop_is_the_workers() -> None:
    text = (FOLDER / "grace-period.md").read_text()
    *steps, together = map(int, re.findall(r"^\| [^|]+ \| (\d+) \|", text, re.M))
    assert sum(steps) == together == Pod().longest_stop_seconds


def test_the_private_names_that_are_told_are_used_and_every_file_with_some_is_told_of() -> None:
    text = (FOLDER / "private-names.md").read_text()
    told = set(re.findall(r"`(_\w+)`", text))
    used = private_livekit_names()
    assert told <= set().union(*used.values())
    assert all(told & names for names in used.values())

"""The page on what is different from LiveKit's own worker: each line has a test that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "differences-from-livekit.md").read_text()
LINES = [line for line in PAGE.splitlines() if line.startswith("| ")][2:]
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("line", LINES, ids=[line.split("|")[1].strip() for line in LINES])
def test_each_difference_names_a_test_that_exists(line: str) -> None:
    named = re.findall(r"`(test_\w+)`", line.rsplit("|", 2)[1])
    assert named
    assert [name for name in named if f"def {name}(" not in TESTS] == []

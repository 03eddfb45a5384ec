"""The rules and alerts of ops/ as tests see them, and promtool, which has tests of its own."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
OPS = ROOT / "ops"
RULES = sorted((OPS / "rules").glob("*.yaml"))
ALERTS = sorted((OPS / "alerts").glob("*.yaml"))
RUNBOOKS = sorted((OPS / "runbooks").glob("*.md"))

Rule = dict[str, Any]


def groups(paths: list[Path]) -> list[dict[str, Any]]:
    return [group for path in paths for group in yaml.safe_load(path.read_text())["groups"]]


def rules(paths: list[Path]) -> list[Rule]:
    return [rule for group in groups(paths) for rule in group["rules"]]


def alert_names() -> set[str]:
    return {rule["alert"] for rule in rules(ALERTS)}


def metric_names(expression: str) -> set[str]:
    """What an expression asks for: every word before a selector, a range or an operator that is
    neither a function, a keyword nor a label.
    """
    plain = re.sub(r"#.*|\"[^\"]*\"|'[^']*'", "", expression)
    plain = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", plain)
    plain = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", plain)
    words = set(re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?![\w:]*\s*\()", plain))
    return words - {"and", "or", "unless", "bool", "offset", "by", "without", "on"}


def promtool() -> Path:
    """A missing tool skips on a laptop and fails in CI."""
    found = os.environ.get("PROMTOOL_BIN") or shutil.which("promtool")
    if found is None:
        assert not os.environ.get("CI"), "promtool comes with your system's package prometheus"
        pytest.skip("promtool is not on PATH, and PROMTOOL_BIN does not name one")
    return Path(found)


def run_promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(promtool()), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )

"""The documents say what is so: generated parts are current, named paths and commands exist."""

import re
import subprocess
from pathlib import Path

import pytest

from voicefleet.cli import app, settings
from voicefleet.errors import EXIT_CODE_MEANINGS
from voicefleet.telemetry import names

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def between(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", README, re.S)
    assert found, f"the README has no part {name!r}"
    return found[1]


def test_the_readmes_table_of_settings_is_generated_from_the_settings() -> None:
    assert between("settings") == settings.markdown()


def test_the_readmes_table_of_exit_codes_is_the_one_of_the_code() -> None:
    rows = [f"| {int(code)} | {text} |" for code, text in EXIT_CODE_MEANINGS.items()]
    assert between("exit codes").splitlines()[2:] == rows


def test_the_readmes_table_of_metrics_is_the_one_of_the_code() -> None:
    rows = [f"| `{m.name}` | {', '.join(m.labels)} | {m.meaning} |" for m in names.METRICS]
    assert between("metrics").splitlines()[2:] == rows


def test_the_example_environment_is_generated_from_the_settings() -> None:
    assert (ROOT / ".env.example").read_text() == settings.env_example() + "\n"


def test_the_readmes_tree_matches_the_disk() -> None:
    tree = README.partition("## The tree")[2].partition("```text\n")[2].partition("```")[0]
    inside = [m[1] for m in re.finditer(r"^[├└]── (\S+)", tree, re.M)]
    top = [m[1] for m in re.finditer(r"^(\.?\w\S*) ", tree, re.M)]
    on_disk = {p.name + ("/" if p.is_dir() else "") for p in (ROOT / "worker").iterdir()}
    assert set(inside) == on_disk - {"__init__.py", "__pycache__/", "py.typed"}
    assert all((ROOT / path).exists() for path in top)


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_make_target_and_verb_that_is_named_exists(text: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`(?:[A-Z]+=\S+ )*make ([a-z-]+)", text)) | set(
        re.findall(r"^make ([a-z-]+)", text, re.M)
    )
    assert named <= targets
    assert set(re.findall(r"voicefleet ([a-z]+)", text)) <= set(app.VERBS)


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_link_and_every_path_leads_somewhere(text: str) -> None:
    linked = re.findall(r"\]\((?!https?://|#)([^)]+)\)", text)
    named = re.findall(r"`((?:worker|tests)/[\w./]+)`", text)
    assert [path for path in (*linked, *named) if not (ROOT / path).exists()] == []


def test_make_help_has_at_most_ten_targets() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert 5 <= len(shown.splitlines()) <= 10


def test_every_direct_dependency_has_its_reason_on_its_line() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    lines = re.findall(r'^  "[\w-]+(?:\[.*\])?[=<>~].*$', project, re.M)
    assert len(lines) >= 20
    assert [line for line in lines if "#" not in line] == []


def test_the_lock_has_a_hash_for_each_package_and_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    packages = re.findall(r"^[a-z0-9][\w.-]*==", lock, re.M)
    assert len(packages) > 50
    assert lock.count("--hash=sha256:") >= len(packages)
    assert "http://" not in lock
    assert "https://" not in lock
    assert "--index" not in lock

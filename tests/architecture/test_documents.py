"""The documents say what is so: generated parts are current, named paths and commands exist."""

import re
import subprocess
from pathlib import Path

import pytest

from voicefleet.cli import app, settings
from voicefleet.errors import EXIT_CODE_MEANINGS
from voicefleet.settings import declared
from voicefleet.telemetry import names

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted(
    [*ROOT.glob("*.md")]
    + [
        path
        for folder in ("deploy", "docs", "ops", "tests")
        for path in (ROOT / folder).rglob("*.md")
    ]
)

each_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix()
)


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
    package, *others = re.findall(r"^(\.?\w\S*)(?: |$)", tree, re.M)
    inside = re.findall(r"^[├└]── (\S+)", tree, re.M)
    folder = ROOT / package
    on_disk = {p.name + ("/" if p.is_dir() else "") for p in folder.iterdir()}
    assert folder == ROOT / "worker" / "voicefleet"
    assert set(inside) == on_disk - {"__init__.py", "__pycache__/", "py.typed"}
    assert [path for path in others if not (ROOT / path).exists()] == []


def commands(text: str) -> str:
    """What a document has as code: its blocks for a shell, and its spans, a line each."""
    blocks = re.findall(r"^```(?:sh|dockerfile)\n(.*?)^```", text, re.M | re.S)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return "\n".join([*blocks, *spans])


@each_document
def test_every_make_target_and_every_verb_that_is_named_exists(path: Path) -> None:
    code = commands(path.read_text())
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"^(?:[A-Z]+=\S+ )*make ([a-z-]+)", code, re.M)) <= targets
    own = re.findall(r"(?:^|\s)voicefleet(?: -v)? ([a-z]\w*)", code, re.M)
    assert set(own) <= set(app.VERBS)


def test_the_verbs_that_are_named_are_found() -> None:
    text = "voicefleet hosts; `voicefleet\n  start` serves, so does\n```sh\nvoicefleet dev\n```\n"
    assert commands(text) == "voicefleet dev\n\nvoicefleet start"


@pytest.mark.parametrize(
    "path",
    [*DOCUMENTS, ROOT / "Dockerfile", ROOT / "Makefile", *sorted((ROOT / ".ci").iterdir())],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_a_variable_under_the_prefix_of_the_settings_is_a_setting(path: Path) -> None:
    """Any other stops the start of whatever inherits it, as the variables of the tests did."""
    named = set(re.findall(r"\b(VOICEFLEET_[A-Z0-9_]*[A-Z0-9])\b", path.read_text()))
    assert sorted(named - set(declared())) == []


@each_document
def test_every_link_and_every_path_leads_somewhere(path: Path) -> None:
    text = path.read_text()
    prose = re.sub(r"`[^`]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    linked = re.findall(r"\]\((?!https?://|#)([^)#]+)[^)]*\)", prose)
    assert [link for link in linked if not (path.parent / link).exists()] == []
    named = re.findall(r"`((?:worker|tests|ops|deploy)/[\w./]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


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

"""A runbook can be followed at three in the morning: it is there, and its commands are right."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.generate import helm, values
from tests.ops import rule_files, runbook
from tests.ops.test_rules import known_names
from voicefleet import settings
from voicefleet.cli import app
from voicefleet.telemetry import names

SETTINGS = settings.declared()
README = (rule_files.OPS / "README.md").read_text()
BLOCKS = [(p, b) for p in rule_files.RUNBOOKS for b in runbook.blocks(p.read_text())]
QUERIES = [
    pytest.param(b.text, id=f"{p.stem}-{i}")
    for i, (p, b) in enumerate(BLOCKS)
    if b.language == "promql"
]


def commands(program: str) -> list[str]:
    """Every command line of a program, in all runbooks and in the README, its pipe cut off."""
    texts = [b.text for _, b in BLOCKS if b.language == "sh"]
    texts += [b.text for b in runbook.blocks(README) if b.language == "sh"]
    found = re.findall(rf"(?:^|\(){program} .*", "\n".join(texts), re.M)
    return sorted({re.split(r" [|&] |\)\"", line)[0].lstrip("(") for line in found})


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {path.stem for path in rule_files.RUNBOOKS} == rule_files.alert_names()


@pytest.mark.parametrize("path", rule_files.RUNBOOKS, ids=lambda p: p.stem)
def test_a_runbook_has_the_four_headings_and_something_to_paste(path: Path) -> None:
    sections = runbook.sections(path)
    assert list(sections) == runbook.HEADINGS
    assert path.read_text().startswith(f"# {path.stem}\n")
    assert runbook.blocks(sections["Diagnosis"])
    assert runbook.blocks(sections["Mitigation"])
    assert not runbook.blocks(sections["Meaning"] + sections["Impact"])
    assert all(text.strip() for text in sections.values())
    # How a person knows that they may go back to bed.
    assert re.search(r"(It is over|closes itself|page ends)", sections["Mitigation"])


@pytest.mark.parametrize("path", rule_files.RUNBOOKS, ids=lambda p: p.stem)
def test_what_a_runbook_leads_to_is_there(path: Path) -> None:
    text = path.read_text()
    linked = re.findall(r"\]\(([^)]+)\)", text)
    assert [target for target in linked if not (path.parent / target).exists()] == []
    named = set(re.findall(r"`(voicefleet[_:]\w+(?::\w+)*)", text))
    assert named <= known_names() | {"voicefleet_slots_wanted"}


def test_a_runbook_uses_only_variables_that_the_readme_has_set() -> None:
    (before,) = [b.text for b in runbook.blocks(README)]
    set_there = set(re.findall(r"\b([A-Z_]+)=", before))
    assert set_there == set(runbook.VARIABLES)
    used = {name for _, b in BLOCKS for name in re.findall(r"\$([A-Z_]+)", b.text)}
    assert used <= set_there


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_metrics_that_exist_and_for_its_own_fleet_or_pod(query: str) -> None:
    asked = rule_files.metric_names(query)
    assert asked
    assert asked <= known_names()
    for selector in re.findall(r"voicefleet[_:][\w:]+(\{[^}]*\})?", query):
        is_narrowed = 'namespace="$NAMESPACE"' in selector
        assert is_narrowed or "voicefleet_phase{phase=" in query


def test_prometheus_takes_every_query(tmp_path: Path) -> None:
    """As a rule, which promtool parses as Prometheus does."""
    texts = [runbook.filled(b.text, runbook.VARIABLES) for _, b in BLOCKS if b.language == "promql"]
    rules = [{"record": f"query:{i}", "expr": text} for i, text in enumerate(texts)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = rule_files.run_promtool("check", "rules", str(file), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_kubectl_knows_every_command_and_flag() -> None:
    """There is no cluster here: a command that is right gets as far as looking for one."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on PATH")
    nowhere = "--server=http://127.0.0.1:1"
    environment = {"PATH": os.environ["PATH"], "KUBECONFIG": os.devnull, **runbook.VARIABLES}
    lines = commands("kubectl")
    assert len(lines) > 30
    for line in lines:
        verb, _, rest = line.removeprefix("kubectl ").partition(" -- ")
        command = f"{kubectl} {nowhere} {verb}" + (f" -- {rest}" if rest else "")
        done = subprocess.run(
            ["bash", "-uc", command], capture_output=True, text=True, env=environment, check=False
        )
        assert "refused" in done.stderr, f"{line}\n{done.stderr}"


def test_helm_is_told_of_values_that_the_chart_has() -> None:
    keys = {key.name for key in values.leaves(values.read(helm.CHART / "values.yaml"))}
    lines = commands("helm")
    assert len(lines) > 5
    for line in lines:
        words = shlex.split(line)
        assert words[3] in {"rollback", "history", "upgrade"}, line
        assert words[1:3] == ["--namespace", "$NAMESPACE"]
        flags = [i for i, word in enumerate(words) if word.startswith("--set")]
        for key, _, _ in (words[i + 1].partition("=") for i in flags):
            name, _, setting = key.partition(".")
            assert key in keys or (name == "settings" and setting in SETTINGS), line


def test_the_worker_has_every_verb_that_is_named() -> None:
    texts = "\n".join(block.text for _, block in BLOCKS)
    assert set(re.findall(r"voicefleet (\w+)", texts)) <= set(app.VERBS)


def test_the_readme_sends_every_failure_to_a_runbook_and_names_signals_that_exist() -> None:
    table = README.partition("## What can go wrong")[2]
    rows = re.findall(r"^\| (?!failure|---)(.+?) \| (.+?) \| \[(\w+)\]\((.+?)\) \|$", table, re.M)
    assert len(rows) == table.count("\n| ") - 2
    for failure, signal, name, target in rows:
        assert target == f"runbooks/{name}.md"
        assert name in rule_files.alert_names(), failure
        histograms = {metric.name for metric in names.METRICS}
        assert set(re.findall(r"`(voicefleet[\w:]+)", signal)) <= known_names() | histograms
    # Each alert is somebody's failure.
    assert {name for _, _, name, _ in rows} == rule_files.alert_names()

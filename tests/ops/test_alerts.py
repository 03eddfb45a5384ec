"""Every alert fires when it should, is silent when it should be, and says what a person needs."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ops import rule_files

UNIT_TESTS = sorted((Path(__file__).parent / "promtool").glob("*.yaml"))
ALERTS = rule_files.rules(rule_files.ALERTS)


@pytest.mark.slow
@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda p: p.stem)
def test_alerts_fire_and_are_silent_as_written(path: Path, tmp_path: Path) -> None:
    """promtool runs the file. Of an alert's words it compares the summary alone."""
    (tmp_path / "tests.yaml").write_text(path.read_text())
    for written in (*rule_files.RULES, *rule_files.ALERTS):
        copy = tmp_path / written.relative_to(rule_files.OPS)
        copy.parent.mkdir(exist_ok=True)
        groups = [with_summaries(group) for group in rule_files.groups([written])]
        copy.write_text(yaml.safe_dump({"groups": groups}))
    done = rule_files.run_promtool("test", "rules", "tests.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_firing_and_silent() -> None:
    firing: set[str] = set()
    silent: set[str] = set()
    for path in UNIT_TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                (firing if case["exp_alerts"] else silent).add(case["alertname"])
    assert firing == silent == rule_files.alert_names()


def test_every_window_and_severity_of_an_alert_is_tested_firing() -> None:
    written = {(alert["alert"], *sorted(alert["labels"].items())) for alert in ALERTS}
    tested = {
        (case["alertname"], *sorted(static_labels(fired["exp_labels"]).items()))
        for path in UNIT_TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
        for fired in case["exp_alerts"]
    }
    assert tested == written


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_is_wrong_where_and_what_to_do(alert: rule_files.Rule) -> None:
    assert re.fullmatch(r"Voicefleet[A-Z]\w+", alert["alert"])
    assert alert["labels"]["severity"] in {"page", "ticket"}
    words = alert["annotations"]
    assert set(words) == {"summary", "description", "runbook_url"}
    assert words["runbook_url"] == f"ops/runbooks/{alert['alert']}.md"
    assert words["summary"].endswith(".")
    assert words["description"].endswith(".")
    assert "$labels.namespace" in words["description"]


def test_every_alert_has_the_reason_of_its_numbers_above_it() -> None:
    """The rules of a service level share theirs, which stand at the head of the file."""
    for path in rule_files.ALERTS:
        lines = path.read_text().splitlines()
        if path.stem == "service-levels":
            assert lines[0].startswith("# ")
            continue
        for number, line in enumerate(lines):
            if line.lstrip().startswith("- alert:"):
                assert lines[number - 1].lstrip().startswith("# "), f"{path.name}: {line.strip()}"


def with_summaries(group: dict[str, Any]) -> dict[str, Any]:
    for rule in group["rules"]:
        if "alert" in rule:
            rule["annotations"] = {"summary": rule["annotations"]["summary"]}
    return group


def static_labels(labels: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name in {"severity", "window"}}

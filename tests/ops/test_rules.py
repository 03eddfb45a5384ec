"""The rules record what they say, of metrics that exist, and Prometheus takes them."""

import re
from pathlib import Path

import pytest
import yaml

from tests.ops import rule_files
from voicefleet.telemetry import names
from voicefleet.telemetry.names import Kind

# What the chart alone records, from its values (deploy/helm/templates/_scale.tpl).
OF_THE_CHART = {"voicefleet:slots_wanted:sum", "voicefleet:slots_wanted_by:sum"}


def scraped_names() -> set[str]:
    """Every name that a scrape of a pod has; a histogram has three."""
    found = {metric.name for metric in names.METRICS}
    parts = [
        f"{metric.name}{part}"
        for metric in names.METRICS
        if metric.kind is Kind.HISTOGRAM
        for part in ("_bucket", "_sum", "_count")
    ]
    return found | set(parts)


def known_names() -> set[str]:
    recorded = {rule["record"] for rule in rule_files.rules(rule_files.RULES)}
    others = yaml.safe_load((rule_files.OPS / "other-metrics.yaml").read_text())
    return scraped_names() | recorded | set(others) | OF_THE_CHART


@pytest.mark.parametrize(
    "rule",
    rule_files.rules([*rule_files.RULES, *rule_files.ALERTS]),
    ids=lambda rule: rule.get("record") or rule["alert"],
)
def test_a_rule_asks_only_for_metrics_that_are_declared(rule: rule_files.Rule) -> None:
    asked = rule_files.metric_names(rule["expr"])
    assert asked
    assert asked <= known_names()


def test_a_name_that_is_not_declared_is_noticed_wherever_it_stands() -> None:
    expression = """
      sum by (fleet) (rate(made_up_total{cause="x"}[5m])) / on (fleet) group_left ()
        another_one offset 5m > 3 # a_comment
      unless on (pod) label_replace(third == bool 1, "a", "$1", "pod", "(.+)")
    """
    assert rule_files.metric_names(expression) == {"made_up_total", "another_one", "third"}


def test_every_label_value_that_a_rule_selects_by_is_one_that_is_counted() -> None:
    """A misspelt cause selects nothing, and its alert never fires."""
    possible = {
        "phase": set(names.PHASES),
        "part": set(names.LOAD_PARTS),
        "leg": set(names.LEGS),
        "outcome": {outcome for outcome, _ in names.CALLS.series},
        "cause": {cause for _, cause in names.CALLS.series},
        "process": {process for (process,) in names.STALLS.series},
        "le": {str(bound) for bound in (*names.JOIN_BUCKETS, *names.TURN_BUCKETS)},
    }
    for rule in rule_files.rules([*rule_files.RULES, *rule_files.ALERTS]):
        for selector in re.findall(r"\{([^}]*)\}", rule["expr"]):
            for label, values in re.findall(r'(\w+)\s*[=!]~?\s*"([^"]*)"', selector):
                assert set(values.split("|")) <= possible[label], selector


def test_a_recorded_series_keeps_the_labels_that_the_chart_narrows_by() -> None:
    for rule in rule_files.rules(rule_files.RULES):
        assert re.fullmatch(r"voicefleet:[a-z_]+:(sum|rate|pod)", rule["record"])
        for labels in re.findall(r"\bby \(([^)]*)\)", rule["expr"]):
            assert labels.startswith("namespace, fleet")


@pytest.mark.parametrize(
    "path", [*rule_files.RULES, *rule_files.ALERTS], ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_prometheus_takes_the_file(path: Path) -> None:
    done = rule_files.run_promtool("check", "rules", str(path), folder=rule_files.ROOT)
    assert done.returncode == 0, done.stdout + done.stderr

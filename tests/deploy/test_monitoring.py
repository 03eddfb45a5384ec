"""Whatever lies in the chart's files/ becomes an object: alerts, rules and dashboards of ops/."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from deploy.generate import helm, values
from tests.deploy.rendering import Chart, Values, one
from tests.ops import rule_files
from voicefleet.telemetry.names import TURN_BUCKETS

OPS = Path(__file__).parent.parent.parent / "ops"

ALERTS = {
    "groups": [
        {
            "name": "voicefleet.alerts",
            "rules": [
                {
                    "alert": "NoFreeSlots",
                    "expr": 'voicefleet:slots_free:sum < 1 and voicefleet_phase{phase="ready"} > 0',
                    "for": "1m",
                    "annotations": {"summary": "{{ $labels.fleet }} has {{ $value }} slots."},
                }
            ],
        }
    ]
}
ON: Values = {"monitoring": {name: {"enabled": True} for name in ("rules", "alerts", "dashboards")}}


@pytest.fixture
def with_files(tmp_path: Path) -> Path:
    copy = shutil.copytree(helm.CHART, tmp_path / "chart")
    for name in ("alerts", "dashboards"):
        shutil.rmtree(copy / "files" / name, ignore_errors=True)
        (copy / "files" / name).mkdir()
    (copy / "files" / "alerts" / "fleet.yaml").write_text(yaml.safe_dump(ALERTS))
    board = json.dumps({"title": "Calls", "templating": "{{ fleet }}"})
    (copy / "files" / "dashboards" / "calls.json").write_text(board)
    return copy


def test_an_alert_of_ops_watches_its_own_release_and_keeps_its_words(
    chart: Chart, with_files: Path
) -> None:
    found = [o for o in chart.render(ON, chart=with_files) if o["kind"] == "PrometheusRule"]
    (rule,) = [o for o in found if o["metadata"]["name"].endswith("-alerts")]
    (alert,) = rule["spec"]["groups"][0]["rules"]
    fleet = 'namespace="talk",fleet="voices"'
    assert alert["expr"] == (
        f"voicefleet:slots_free:sum{{{fleet}}} < 1"
        f' and voicefleet_phase{{{fleet},phase="ready"}} > 0'
    )
    assert alert["annotations"] == {
        "summary": "{{ $labels.fleet }} has {{ $value }} slots.",
        "runbook_url": "ops/runbooks/NoFreeSlots.md",
    }


def test_prometheus_takes_what_the_chart_renders(chart: Chart, tmp_path: Path) -> None:
    """A selector in the wrong place would be refused by the operator, and no alert be there."""
    found = [o for o in chart.render(ON) if o["kind"] == "PrometheusRule"]
    assert len(found) == 2
    for number, rule in enumerate(found):
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump({"groups": rule["spec"]["groups"]}))
    done = rule_files.run_promtool("check", "rules", "0.yaml", "1.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_of_the_chart_asks_for_its_own_release_alone(chart: Chart) -> None:
    """Two releases of a cluster would otherwise wake somebody for each other."""
    found = [o for o in chart.render(ON) if o["kind"] == "PrometheusRule"]
    rules = [r for o in found for group in o["spec"]["groups"] for r in group["rules"]]
    assert len(rules) > 40
    for rule in rules:
        own = rule["expr"].count('{namespace="talk",fleet="voices"')
        assert own == rule["expr"].count("voicefleet"), rule


def test_every_number_that_a_team_may_set_names_a_value_of_the_chart() -> None:
    """A comment behind a number names its value; one that names none would never be set."""
    named = re.findall(
        r'[\d.]+"? # values: (\S+)$',
        "\n".join(path.read_text() for path in sorted(OPS.glob("*/*.yaml"))),
        re.M,
    )
    assert set(named) == {
        f"monitoring.{name}"
        for name in ("rules.turnSeconds", "alerts.leastCalls", "alerts.leastTurns")
    }


def test_a_turn_is_late_at_a_bound_of_the_histogram() -> None:
    """At any other number there is no such series, and the alert would be silent for ever."""
    keys = {key.name: key for key in values.leaves(values.read(helm.CHART / "values.yaml"))}
    offered = keys["monitoring.rules.turnSeconds"].schema["enum"]
    assert set(offered) <= set(TURN_BUCKETS)


def test_a_dashboard_of_ops_is_found_by_grafana_and_is_not_a_template(
    chart: Chart, with_files: Path
) -> None:
    given = {"monitoring": {**ON["monitoring"], "dashboards": {"enabled": True, "folder": "Voice"}}}
    found = chart.render(given, chart=with_files)
    (board,) = [o for o in found if o["metadata"]["name"] == "voices-voicefleet-calls"]
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert board["metadata"]["annotations"]["grafana_folder"] == "Voice"
    assert json.loads(board["data"]["calls.json"])["templating"] == "{{ fleet }}"


def test_grafanas_label_may_have_another_name(chart: Chart, with_files: Path) -> None:
    given = {"monitoring": {"dashboards": {"enabled": True, "label": "my_boards"}}}
    found = chart.render(given, chart=with_files)
    (board,) = [o for o in found if o["metadata"]["name"] == "voices-voicefleet-calls"]
    assert board["metadata"]["labels"]["my_boards"] == "1"


def test_without_files_there_are_no_empty_objects(chart: Chart, with_files: Path) -> None:
    shutil.rmtree(with_files / "files")
    found = chart.render(ON, chart=with_files)
    assert not [o for o in found if o["metadata"]["name"].endswith("-alerts")]


def test_a_pod_is_scraped_to_the_end_of_its_drain(chart: Chart) -> None:
    """A ServiceMonitor follows endpoints, which a pod leaves the moment its drain begins."""
    found = chart.render({"monitoring": {"podMonitor": {"enabled": True}}})
    assert one(found, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["path"] == "/metrics"
    assert not {"ServiceMonitor", "Service"} & {o["kind"] for o in found}

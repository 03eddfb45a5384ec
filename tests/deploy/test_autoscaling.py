"""The autoscaler's formula: the numbers in it, who asks for it, and what it makes of calls."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.rendering import Chart, Object, Values, at, merged, one
from tests.deploy.test_values import wanted

ROOT = Path(__file__).parent.parent.parent
RULES: Values = {"monitoring": {"rules": {"enabled": True}}}
HPA: Values = {"scale": {"by": "hpa"}}
KEDA: Values = {"scale": {"by": "keda", "keda": {"prometheusAddress": "http://p"}}}
FLEET = '{namespace="talk",fleet="voices"}'


def adapter() -> Any:
    path = ROOT / "ops" / "autoscaling" / "prometheus-adapter.yaml"
    return yaml.safe_load(path.read_text())["rules"]["external"][0]


def recorded(found: list[Object]) -> dict[str, str]:
    groups = one(found, "PrometheusRule")["spec"]["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"]}


def test_never_two_autoscalers(chart: Chart) -> None:
    for by, kind in {
        "none": [],
        "hpa": ["HorizontalPodAutoscaler"],
        "keda": ["ScaledObject"],
    }.items():
        scale = {"by": by, "keda": {"prometheusAddress": "http://p"}}
        found = {o["kind"] for o in chart.render({"scale": scale})}
        assert sorted(found & {"HorizontalPodAutoscaler", "ScaledObject"}) == kind


def test_both_autoscalers_follow_the_same_block_of_values(chart: Chart) -> None:
    same = {"scale": {"min": 3, "max": 30, "cpuPercent": 70, "down": {"pods": 2}}, "slots": 6}
    hpa = one(chart.render(merged(HPA, same)), "HorizontalPodAutoscaler")["spec"]
    keda = one(chart.render(merged(KEDA, same)), "ScaledObject")["spec"]
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (3, 30)
    assert (keda["minReplicaCount"], keda["maxReplicaCount"]) == (3, 30)
    assert hpa["behavior"] == keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert hpa["metrics"][0]["external"]["target"] == {"type": "AverageValue", "averageValue": "6"}
    trigger = keda["triggers"][0]
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", "6")
    assert keda["triggers"][1]["metadata"] == {"containerName": "worker", "value": "70"}
    assert hpa["scaleTargetRef"] == keda["scaleTargetRef"]


def test_without_the_guard_cpu_orders_no_pods(chart: Chart) -> None:
    off = {"scale": {"cpuPercent": 0}}
    hpa = one(chart.render(merged(HPA, off)), "HorizontalPodAutoscaler")["spec"]
    keda = one(chart.render(merged(KEDA, off)), "ScaledObject")["spec"]
    assert len(hpa["metrics"]) == len(keda["triggers"]) == 1


def test_up_is_at_once_and_down_is_slow(chart: Chart) -> None:
    behavior = at(chart.render(HPA), "HorizontalPodAutoscaler/spec/behavior")
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 300


@pytest.mark.parametrize(("kubernetes", "tolerance"), [("1.34.9", None), ("1.35.0", "0")])
def test_the_dead_band_goes_where_kubernetes_can_be_told(
    chart: Chart, kubernetes: str, tolerance: str | None
) -> None:
    """Within a tenth of the target an autoscaler does nothing: at 20 pods of 10 slots, 20 slots."""
    found = chart.render(merged(HPA, RULES), kubernetes=kubernetes)
    behavior = at(found, "HorizontalPodAutoscaler/spec/behavior")
    assert behavior["scaleUp"].get("tolerance") == tolerance
    assert "tolerance" not in behavior["scaleDown"]
    slack = f"0.1 * voicefleet:slots_ready:sum{FLEET}"
    assert (slack in wanted(found)["buffer"]) == (tolerance is None)


def test_a_metrics_outage_never_makes_a_fleet_smaller(chart: Chart) -> None:
    spec = one(chart.render(KEDA), "ScaledObject")["spec"]
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    assert spec["triggers"][0]["metadata"]["ignoreNullValues"] == "false"


def test_the_external_metric_is_what_the_rules_record_and_the_adapter_offers(chart: Chart) -> None:
    found = chart.render(merged(HPA, RULES))
    metric = at(found, "HorizontalPodAutoscaler/spec/metrics/0/external/metric")
    rule = adapter()
    assert metric["name"] == rule["name"]["as"]
    assert metric["selector"] == {"matchLabels": {"fleet": "voices"}}
    series = rule["seriesQuery"].removeprefix('{__name__="').removesuffix('"}')
    assert series in recorded(found)
    assert series.replace(":sum", "").replace(":", "_") == metric["name"]
    assert rule["resources"]["overrides"] == {"namespace": {"resource": "namespace"}}
    query = at(chart.render(KEDA), "ScaledObject/spec/triggers/0/metadata/query")
    assert query == f"max({series}{FLEET})"


def test_the_fleets_label_comes_from_pod_monitor_and_scrape_configuration_alike(
    chart: Chart,
) -> None:
    monitor = one(chart.render({"monitoring": {"podMonitor": {"enabled": True}}}), "PodMonitor")
    (relabeling,) = monitor["spec"]["podMetricsEndpoints"][0]["relabelings"]
    text = (ROOT / "ops" / "autoscaling" / "scrape.yaml").read_text()
    (job,) = yaml.safe_load(text)["scrape_configs"]
    by_target = {c.get("target_label"): c for c in job["relabel_configs"]}
    assert by_target["fleet"]["source_labels"] == relabeling["sourceLabels"]
    labels = at(chart.render(), "Deployment/spec/template/metadata/labels")
    kept = next(c for c in job["relabel_configs"] if c.get("action") == "keep")
    assert kept["regex"] == ";".join(
        [labels["app.kubernetes.io/name"], labels["app.kubernetes.io/component"], "http"]
    )


def test_each_rule_sees_its_own_release_alone(chart: Chart) -> None:
    """Two releases of a cluster would otherwise record, and alert, twice for each other."""
    for record, expression in recorded(chart.render(RULES)).items():
        assert expression.count("voicefleet") == expression.count('namespace="talk",fleet="voices"')
        assert record.startswith("voicefleet:")


def test_the_formula_does_what_it_says(chart: Chart, tmp_path: Path) -> None:
    """Evaluated by Prometheus: a quiet fleet, a busy one, one that grows, and one that drains."""
    promtool = os.environ.get("PROMTOOL_BIN") or shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on PATH, and PROMTOOL_BIN does not name one")
    rule = one(chart.render(RULES), "PrometheusRule")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": rule["spec"]["groups"]}))
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(formula_tests()))
    done = subprocess.run(
        [promtool, "test", "rules", "tests.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def formula_tests() -> dict[str, Any]:
    """Ten minutes each, in steps of 15 s; 8 slots a pod, use of 75 %, lead of 60 s."""
    quiet = pod("a", "0x40") + pod("b", "0x40")
    busy = pod("a", "8x40") + pod("b", "8x40")
    # Half a call each second from the first minute on.
    grows = pod("a", "0+7.5x40")
    drains = pod("a", "8x40", phase="draining") + pod("b", "2x40")
    others = pod("z", "99x40", fleet="others")
    return {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "15s",
        "tests": [
            expect(quiet + others, "voicefleet:slots_wanted:sum", 8),
            expect(busy, "voicefleet:slots_wanted:sum", 24),
            expect(busy, 'voicefleet:slots_wanted_by:sum{reason="use"}', 16 / 0.75),
            expect(grows, "voicefleet:calls:sum", 150, at="5m"),
            expect(grows, "voicefleet:slots_wanted:sum", 150 / 0.75, at="5m"),
            expect(grows, 'voicefleet:slots_wanted_by:sum{reason="growth"}', 188, at="5m"),
            expect(drains, "voicefleet:calls:sum", 2),
            expect(drains, "voicefleet:calls_draining:sum", 8),
            expect(drains, "voicefleet:slots_ready:sum", 8),
            expect(drains, "voicefleet:slots_free:sum", 6),
            expect(drains, "voicefleet:slots_wanted:sum", 10),
        ],
    }


def pod(name: str, calls: str, *, phase: str = "ready", fleet: str = "voices") -> list[Any]:
    labels = f'namespace="talk",fleet="{fleet}",pod="{name}"'
    phases = {p: int(p == phase) for p in ("starting", "ready", "draining", "stopped")}
    return [
        {"series": f"voicefleet_calls_active{{{labels}}}", "values": calls},
        {"series": f"voicefleet_slots{{{labels}}}", "values": "8x40"},
        *(
            {"series": f'voicefleet_phase{{{labels},phase="{p}"}}', "values": f"{on}x40"}
            for p, on in phases.items()
        ),
    ]


def expect(series: list[Any], expression: str, value: float, *, at: str = "8m") -> dict[str, Any]:
    name, _, rest = expression.partition("{")
    reason = f",{rest.removesuffix('}')}" if rest else ""
    labels = f'{name}{{namespace="talk",fleet="voices"{reason}}}'
    sample = {"labels": labels, "value": value}
    return {
        "interval": "15s",
        "input_series": series,
        "promql_expr_test": [{"expr": expression, "eval_time": at, "exp_samples": [sample]}],
    }

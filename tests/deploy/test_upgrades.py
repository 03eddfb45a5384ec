"""What may change without a drain, and what must not: every difference of the pod template starts
new pods and drains the old ones.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from deploy.generate import helm
from tests.deploy.rendering import Chart, Values, at, pod_template

# A running fleet's next values.
DRAIN_NOBODY: dict[str, Values] = {
    "an autoscaler": {"scale": {"by": "hpa"}},
    "another autoscaler": {"scale": {"by": "keda", "keda": {"prometheusAddress": "http://p"}}},
    "more pods": {"scale": {"min": 5, "max": 50, "bufferSlots": 40, "usePercent": 60}},
    "a slower autoscaler": {
        "scale": {"by": "hpa", "down": {"windowSeconds": 900}, "cpuPercent": 0}
    },
    "alerts, rules, dashboards": {
        "monitoring": {
            name: {"enabled": True} for name in ("podMonitor", "rules", "alerts", "dashboards")
        }
    },
    "labels": {"commonLabels": {"team": "voice"}, "monitoring": {"labels": {"release": "p"}}},
    "annotations": {"commonAnnotations": {"owner": "voice"}},
    "a budget": {"podDisruptionBudget": {"maxUnavailable": 2}},
    "a network policy": {"networkPolicy": {"providers": {"ports": ["443", "8443"]}}},
    "no network policy": {"networkPolicy": {"enabled": False}},
    "another rollout": {"rollout": {"maxSurge": "50%", "minReadySeconds": 60}},
    "another test": {"test": {"say": "Is anyone there?", "timeoutSeconds": 40}},
    "a service account's annotation": {"serviceAccount": {"annotations": {"role": "r"}}},
    "one more object": {
        "extraObjects": [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}]
    },
}

DRAIN: dict[str, Values] = {
    "an image": {"image": {"tag": "v2"}},
    "a setting": {"settings": {"VOICEFLEET_STT": "openai"}},
    "slots": {"slots": 6},
    "a drain": {"drain": {"timeoutSeconds": 1800}},
    "an agent's file": {"agent": {"file": "a.py", "files": {"a.py": "y"}}},
    "a pod's label": {"podLabels": {"mesh": "off"}},
}


@pytest.mark.parametrize("name", DRAIN_NOBODY)
def test_an_upgrade_that_needs_no_drain_drains_nobody(chart: Chart, name: str) -> None:
    before, after = chart.render(), chart.render(DRAIN_NOBODY[name])
    assert pod_template(after) == pod_template(before)
    assert at(after, "Deployment/spec/selector") == at(before, "Deployment/spec/selector")


@pytest.mark.parametrize("name", DRAIN)
def test_what_the_agent_reads_at_its_start_starts_new_pods(chart: Chart, name: str) -> None:
    assert pod_template(chart.render(DRAIN[name])) != pod_template(chart.render())


def test_a_new_chart_version_drains_nobody(chart: Chart, tmp_path: Path) -> None:
    copy = shutil.copytree(helm.CHART, tmp_path / "chart")
    about = (copy / "Chart.yaml").read_text()
    (copy / "Chart.yaml").write_text(about.replace("\nversion: ", "\nversion: 9"))
    newer = chart.render(chart=copy)
    assert "voicefleet-9" in at(newer, "Deployment/metadata/labels/helm.sh~chart")
    assert pod_template(newer) == pod_template(chart.render())


@pytest.mark.parametrize("kubernetes", ["1.33.0", "1.34.0", "1.35.0", "1.36.0"])
def test_a_new_kubernetes_drains_nobody(chart: Chart, kubernetes: str) -> None:
    assert pod_template(chart.render(kubernetes=kubernetes)) == pod_template(chart.render())


def test_a_new_key_in_a_secret_of_the_chart_drains_nobody_unless_asked(chart: Chart) -> None:
    def template(key: str, *, rollout: bool) -> Any:
        keys = {"LIVEKIT_API_KEY": key, "LIVEKIT_API_SECRET": "s"}
        values = {"existingSecret": "", "values": keys, "rolloutOnChange": rollout}
        return pod_template(chart.render({"secrets": values}))

    assert template("old", rollout=False) == template("new", rollout=False)
    assert template("old", rollout=True) != template("new", rollout=True)


def test_an_autoscaler_owns_the_number_of_pods(chart: Chart) -> None:
    """Were it in the manifest, each upgrade would set it back, in the middle of a peak."""
    for values in (DRAIN_NOBODY["an autoscaler"], DRAIN_NOBODY["another autoscaler"]):
        assert at(chart.render(values), "Deployment/spec/replicas") is None
    assert at(chart.render(), "Deployment/spec/replicas") == 2

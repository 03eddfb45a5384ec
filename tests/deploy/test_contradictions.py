"""Values that cannot work stop the install before anything is created, with a sentence."""

import json
from typing import Any

import pytest

from deploy.generate import helm
from tests.deploy.rendering import Chart, Values, merged

HPA_OF_ONES_OWN = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "mine"},
    "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "{{ .Release.Name }}-voicefleet"}},
}
STORE = {"existingSecret": "", "externalSecret": {"store": "vault"}}

# What a newcomer writes, what stands in the answer, and what the fix is.
REFUSED: dict[str, tuple[Values, str, str]] = {
    "missing URL": ({"livekit": {"url": ""}}, "livekit.url is not set", "--set livekit.url=wss://"),
    "wrong URL": ({"livekit": {"url": "livekit:7880"}}, "no address of LiveKit", "ws://host:7880"),
    "private LiveKit": (
        {"livekit": {"url": "ws://livekit-server.livekit.svc:7880"}},
        "LiveKit at livekit-server.livekit.svc is in your own network",
        "networkPolicy.livekit.to=",
    ),
    "private IPv6": ({"livekit": {"url": "ws://[fd00::1]:7880"}}, "[fd00::1] is in your", "name"),
    "private address": (
        {"livekit": {"url": "ws://10.1.2.3:7880"}},
        "10.1.2.3 is in your own",
        "name",
    ),
    "no keys": (
        {"secrets": {"existingSecret": ""}},
        "there are no keys of LiveKit",
        "kubectl create secret generic",
    ),
    "two sources of keys": (
        {"secrets": {"values": {"LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"}}},
        "secrets has 2 sources: existingSecret, values",
        "keep one",
    ),
    "half a key": (
        {"secrets": {"existingSecret": "", "values": {"LIVEKIT_API_KEY": "k"}}},
        "secrets.values has no LIVEKIT_API_SECRET",
        "--set secrets.values.LIVEKIT_API_SECRET=",
    ),
    "a store that is not asked": (
        {"secrets": STORE},
        "remote does not say where LIVEKIT_API_KEY is",
        "remote.LIVEKIT_API_KEY.key=",
    ),
    "CSI without its Secret": (
        {"secrets": {**STORE, "csi": {"secretProviderClass": "v"}}},
        "does not name the Secret that it syncs",
        "secretObjects",
    ),
    "agent file that is not given": (
        {"agent": {"file": "desk.py"}},
        'agent.file is "desk.py", a file, and none is given',
        "--set-file 'agent.files.desk\\.py=desk.py'",
    ),
    "agent file of another name": (
        {"agent": {"file": "desk", "files": {"desk.py": "x"}}},
        "none of the files that are mounted: desk.py",
        "--set agent.file=desk.py",
    ),
    "two ConfigMaps": (
        {"agent": {"file": "a.py", "files": {"a.py": "x"}, "configMap": {"name": "m"}}},
        "agent.files and agent.configMap.name are both set",
        "keep one",
    ),
    "alerts on rules that are not there": (
        {"monitoring": {"alerts": {"enabled": True}}},
        "monitoring.alerts.enabled without monitoring.rules.enabled",
        "--set monitoring.rules.enabled=true",
    ),
    "no agent": ({"agent": {"file": ""}}, "agent.file is empty", "agent.file=assistant"),
    "a secret among settings": (
        {"settings": {"OPENAI_API_KEY": "sk"}},
        "settings.OPENAI_API_KEY is a secret",
        "put it into the Secret",
    ),
    "a derived setting": (
        {"settings": {"VOICEFLEET_SLOTS": 9}},
        "settings.VOICEFLEET_SLOTS is derived by the chart",
        "set slots instead",
    ),
    "a derived setting by extraEnv": (
        {"extraEnv": [{"name": "LIVEKIT_URL", "value": "x"}]},
        "extraEnv sets LIVEKIT_URL, which the pod has already",
        "set livekit.url",
    ),
    "a worker's name for one's own": (
        {"extraEnv": [{"name": "VOICEFLEET_SHOP", "value": "x"}]},
        "VOICEFLEET_ is for the worker's settings",
        "another name",
    ),
    "zero slots": (
        {"slots": 0},
        "slots is 0, and a pod without a slot",
        "--set slots=8, 4 for each CPU",
    ),
    "negative slots": ({"slots": -3}, "slots is -3", "--set slots=8"),
    "too little memory": (
        {"slots": 16},
        "16 slots in 4Gi leave 188 MiB for a call",
        "resources.limits.memory of 6080Mi or more, or at most 10 slots",
    ),
    "a call's least memory": (
        {"memory": {"leastCallMiB": 400}},
        "8 slots in 4Gi leave 376 MiB for a call, and below 400 MiB",
        "or at most 7 slots",
    ),
    "no memory limit": (
        {"resources": {"limits": {"memory": ""}}},
        "without a limit in bytes one call that leaks takes the node",
        "--set resources.limits.memory=3414Mi",
    ),
    "memory that is no quantity": (
        {"resources": {"limits": {"memory": "4 GB"}}},
        'resources.limits.memory is "4 GB"',
        "--set resources.limits.memory=",
    ),
    "request above limit": (
        {"resources": {"requests": {"memory": "5Gi"}}},
        "resources.requests.memory (5Gi) is above resources.limits.memory (4Gi)",
        "make them equal",
    ),
    "no CPU": ({"resources": {"requests": {"cpu": ""}}}, "load is measured against it", "in CPUs"),
    "tmp above the limit": ({"tmpSize": "1Gi"}, "tmpSize (1Gi) is above", "lower tmpSize"),
    "drain over the grace period": (
        {"drain": {"gracePeriodSeconds": 600}},
        "drain.gracePeriodSeconds is 600, and a drain takes up to 4125 s: 3600 (calls) + 20",
        "leave drain.gracePeriodSeconds at 0, or lower drain.timeoutSeconds to 75",
    ),
    "a label that selects": (
        {"podLabels": {"app.kubernetes.io/instance": "x"}},
        "podLabels sets app.kubernetes.io/instance, which is the chart's own",
        "take it out",
    ),
    "a label of the chart's": (
        {"commonLabels": {"helm.sh/chart": "x"}},
        "commonLabels sets helm.sh/chart, which is the chart's own",
        "take it out",
    ),
    "a model in one's own network": (
        {"settings": {"VOICEFLEET_LLM_URL": "https://vllm.models.svc/v1"}},
        "VOICEFLEET_LLM_URL is in your own network (vllm.models.svc)",
        "networkPolicy.providers.to or extraEgress",
    ),
    "a model on a port of its own": (
        {"settings": {"OPENAI_BASE_URL": "https://models.example.com:8443/v1"}},
        "OPENAI_BASE_URL has port 8443, and networkPolicy.providers.ports has not",
        'add "8443" to networkPolicy.providers.ports',
    ),
    "a collector without a scheme": (
        {"telemetry": {"endpoint": "otel:4317"}},
        'telemetry.endpoint is "otel:4317", which is no address',
        "http://collector.namespace.svc:4318",
    ),
    "a collector in one's own network": (
        {"telemetry": {"endpoint": "http://10.1.1.1:4317"}},
        "the collector at 10.1.1.1 is in your own network",
        "networkPolicy.telemetry.to=",
    ),
    "a Prometheus without a scheme": (
        {"scale": {"by": "keda", "keda": {"prometheusAddress": "prometheus:9090"}}},
        'prometheusAddress is "prometheus:9090", which is no address',
        "http://host:9090",
    ),
    "no pod may go and none may come": (
        {"rollout": {"maxSurge": "0%"}},
        "no pod could ever be replaced",
        "rollout.maxSurge=1",
    ),
    "reports where nothing can be written": (
        {"settings": {"VOICEFLEET_REPORT_DIR": "/reports"}},
        "settings.VOICEFLEET_REPORT_DIR is /reports, and the root file system is read-only",
        "extraVolumeMounts",
    ),
    "no pods": ({"scale": {"min": 0}}, "scale.min is 0", "--set scale.min=2"),
    "fewer at most than at least": (
        {"scale": {"by": "hpa", "min": 5, "max": 3}},
        "scale.min is 5 and scale.max is 3",
        "lower scale.min or raise scale.max",
    ),
    "keda without Prometheus": (
        {"scale": {"by": "keda"}},
        "prometheusAddress does not say where Prometheus is",
        "--set scale.keda.prometheusAddress=",
    ),
    "two autoscalers": (
        {"scale": {"by": "hpa"}, "extraObjects": [HPA_OF_ONES_OWN]},
        "HorizontalPodAutoscaler for the fleet that the chart scales (scale.by=hpa)",
        "take it out",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_cannot_work_are_refused_with_their_fix(chart: Chart, name: str) -> None:
    values, problem, fix = REFUSED[name]
    told = chart.refusal(merged({"livekit": {"url": "wss://a.livekit.cloud"}}, values))
    assert "These values cannot work, and nothing was created:" in told
    assert f"- {problem}" in told or problem in told
    assert fix in told.partition(problem)[2]


def test_all_contradictions_are_told_at_once(chart: Chart) -> None:
    told = chart.refusal({"slots": 0, "scale": {"min": 0}}, exactly=True)
    assert told.count("\n  fix: ") == 4


# What the schema refuses: a typo, and a value of another kind.
MISFITS: dict[str, tuple[Values, str]] = {
    "a typo at the top": ({"slotz": 8}, "additional properties 'slotz' not allowed"),
    "a typo below": ({"scale": {"minimum": 3}}, "at '/scale': additional properties 'minimum'"),
    "a setting that is none": (
        {"settings": {"VOICEFLEET_SLOT": 3}},
        "at '/settings': additional properties 'VOICEFLEET_SLOT' not allowed",
    ),
    "a setting out of bounds": (
        {"settings": {"VOICEFLEET_LIVEKIT_RETRIES": -1}},
        "at '/settings/VOICEFLEET_LIVEKIT_RETRIES': minimum: got -1, want 0",
    ),
    "a setting that is no choice": (
        {"settings": {"VOICEFLEET_VAD": "x"}},
        "must be one of 'livekit', 'silero'",
    ),
    "a secret that is none": ({"secrets": {"values": {"KEY": "x"}}}, "additional properties 'KEY'"),
    "two autoscalers in one word": (
        {"scale": {"by": "hpa,keda"}},
        "at '/scale/by': value must be one of 'none', 'hpa', 'keda'",
    ),
    "two autoscalers in a list": (
        {"scale": {"by": ["hpa", "keda"]}},
        "must be one of 'none', 'hpa', 'keda'",
    ),
    "a word for a number": ({"slots": "eight"}, "at '/slots': got string, want integer"),
    "a tag for a digest": ({"image": {"digest": "latest"}}, "does not match pattern '^(sha256:"),
    "root": ({"security": {"user": 0}}, "at '/security/user': minimum: got 0, want 10,001"),
    "a port without rights": ({"http": {"port": 80}}, "minimum: got 80, want 1,024"),
    "a size that is none": ({"tmpSize": "256MB"}, "at '/tmpSize': '256MB' does not match pattern"),
    "a CPU that is none": (
        {"resources": {"requests": {"cpu": "2 cores"}}},
        "at '/resources/requests/cpu': '2 cores' does not match pattern",
    ),
    "a name that is none": (
        {"fullnameOverride": "Desk"},
        "at '/fullnameOverride': 'Desk' does not",
    ),
    "a range that is none": (
        {"networkPolicy": {"livekit": {"udpPorts": ["50000:60000"]}}},
        "does not match pattern",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_the_schema_refuses_and_names_the_place(chart: Chart, name: str) -> None:
    values, problem = MISFITS[name]
    told = chart.refusal(values)
    assert "values don't meet the specifications of the schema" in told
    assert problem in told


def test_every_leaf_of_the_schema_has_a_type_and_every_object_is_closed() -> None:
    def walk(schema: Any, path: str) -> list[str]:
        wrong = []
        if not {"type", "enum"} & set(schema):
            wrong.append(f"{path} has no type")
        if schema.get("type") == "object" and "additionalProperties" not in schema:
            wrong.append(f"{path} is open")
        for name, child in schema.get("properties", {}).items():
            wrong += walk(child, f"{path}/{name}") if child else []
        return wrong

    schema = json.loads((helm.CHART / "values.schema.json").read_text())
    assert walk(schema, "") == ["/global is open"]

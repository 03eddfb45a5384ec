"""Every value of the chart does what its comment says; the table has one line for each."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from deploy.generate import helm, values
from tests.deploy.rendering import Chart, Object, Values, at, merged, nested, settings

POD = "Deployment/spec/template/spec"
WORKER = f"{POD}/containers/0"
SETTING = "settings/"
HPA, KEDA = (
    {"scale": {"by": "hpa"}},
    {"scale": {"by": "keda", "keda": {"prometheusAddress": "http://p"}}},
)
OTLP = {"telemetry": {"endpoint": "http://otel:4317"}}
MADE_SECRET = {
    "secrets": {"existingSecret": "", "values": {"LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"}}
}
REMOTE = {"LIVEKIT_API_KEY": {"key": "k"}, "LIVEKIT_API_SECRET": {"key": "s"}}
STORE = {"secrets": {"existingSecret": "", "externalSecret": {"store": "v", "remote": REMOTE}}}
PEER = {"ipBlock": {"cidr": "10.9.0.0/16"}}
FILES = {"agent": {"file": "a.py", "files": {"a.py": "pass\n"}}}
MAP = {"agent": {"file": "a.py", "configMap": {"name": "mine"}}}
DIGEST = f"sha256:{'a' * 64}"
ALL_ON = {"monitoring": {"podMonitor": {"enabled": True}, "rules": {"enabled": True}}}
RULES = {"monitoring": {"rules": {"enabled": True}}}
ALERTS = {"monitoring": {"rules": {"enabled": True}, "alerts": {"enabled": True}}}


def has(text: str) -> Callable[[str], bool]:
    return lambda seen: text in seen


@dataclass(frozen=True, slots=True)
class Case:
    """`key` set to `value` (beside other values) shows as `seen` at a place of the objects."""

    key: str
    value: Any
    where: str
    seen: Any
    beside: Values = field(default_factory=dict)


CASES = [
    Case("image.repository", "mine/agent", f"{WORKER}/image", "mine/agent:0.1.0"),
    Case("image.tag", "v7", f"{WORKER}/image", "voicefleet:v7"),
    Case(
        "image.digest", DIGEST, f"{WORKER}/image", f"voicefleet@{DIGEST}", {"image": {"tag": "x"}}
    ),
    Case("image.pullPolicy", "Always", f"{WORKER}/imagePullPolicy", "Always"),
    Case("image.pullSecrets", ["r"], f"{POD}/imagePullSecrets", [{"name": "r"}]),
    Case("livekit.url", "wss://other.cloud", f"{SETTING}LIVEKIT_URL", "wss://other.cloud"),
    Case("agent.file", "interview", f"{SETTING}VOICEFLEET_AGENT", "interview"),
    Case("agent.name", "desk", f"{SETTING}VOICEFLEET_AGENT_NAME", "desk"),
    Case("agent.files", {"a.py": "x"}, f"{SETTING}VOICEFLEET_AGENT", "/agent/a.py", FILES),
    Case("agent.configMap.name", "mine", f"{POD}/volumes/1/configMap/name", "mine", MAP),
    Case("agent.configMap.keys", ["a.py", "b.md"], f"{WORKER}/volumeMounts/2/subPath", "b.md", MAP),
    Case("secrets.existingSecret", "mine", f"{WORKER}/env/3/valueFrom/secretKeyRef/name", "mine"),
    Case(
        "secrets.keys",
        {"LIVEKIT_API_KEY": "api-key"},
        f"{WORKER}/env/3/valueFrom/secretKeyRef/key",
        "api-key",
    ),
    Case(
        "secrets.values", {"OPENAI_API_KEY": "o"}, "Secret/data/OPENAI_API_KEY", "bw==", MADE_SECRET
    ),
    Case(
        "secrets.externalSecret.store", "v", "ExternalSecret/spec/secretStoreRef/name", "v", STORE
    ),
    Case(
        "secrets.externalSecret.storeKind",
        "SecretStore",
        "ExternalSecret/spec/secretStoreRef/kind",
        "SecretStore",
        STORE,
    ),
    Case(
        "secrets.externalSecret.refreshInterval",
        "5m",
        "ExternalSecret/spec/refreshInterval",
        "5m",
        STORE,
    ),
    Case(
        "secrets.externalSecret.remote",
        {**REMOTE, "LIVEKIT_API_KEY": {"key": "z"}},
        "ExternalSecret/spec/data/0/remoteRef/key",
        "z",
        STORE,
    ),
    Case(
        "secrets.csi.secretProviderClass",
        "vault",
        f"{POD}/volumes/1/csi/volumeAttributes/secretProviderClass",
        "vault",
    ),
    Case(
        "secrets.rolloutOnChange",
        True,
        "Deployment/spec/template/metadata/annotations/checksum~secret",
        lambda checksum: len(checksum) == 64,
        MADE_SECRET,
    ),
    Case("settings", {"VOICEFLEET_STT": "openai"}, f"{SETTING}VOICEFLEET_STT", "openai"),
    Case(
        "extraEnv",
        [{"name": "SHOP", "value": "7"}],
        f"{WORKER}/env/-1",
        {"name": "SHOP", "value": "7"},
    ),
    Case("slots", 4, f"{SETTING}VOICEFLEET_SLOTS", "4"),
    Case("resources.requests.cpu", "1500m", f"{WORKER}/resources/requests/cpu", "1500m"),
    Case("resources.requests.memory", "3Gi", f"{WORKER}/resources/requests/memory", "3Gi"),
    Case(
        "resources.requests.ephemeral-storage",
        "1Gi",
        f"{WORKER}/resources/requests/ephemeral-storage",
        "1Gi",
    ),
    Case("resources.limits.cpu", 4, f"{WORKER}/resources/limits/cpu", "4"),
    Case("resources.limits.memory", "8Gi", f"{WORKER}/resources/limits/memory", "8Gi"),
    Case(
        "resources.limits.ephemeral-storage",
        "2Gi",
        f"{WORKER}/resources/limits/ephemeral-storage",
        "2Gi",
    ),
    Case("memory.podMiB", 1000, f"{SETTING}VOICEFLEET_CALL_MEMORY_LIMIT_BYTES", "352111820"),
    Case("memory.plannedPercent", 80, f"{SETTING}VOICEFLEET_CALL_MEMORY_LIMIT_BYTES", "341416345"),
    Case("memory.warnPercent", 50, f"{SETTING}VOICEFLEET_CALL_MEMORY_WARN_BYTES", "197551718"),
    Case("drain.timeoutSeconds", 600, f"{SETTING}VOICEFLEET_DRAIN_TIMEOUT_SECONDS", "600"),
    Case("drain.hooksSeconds", 60, f"{POD}/terminationGracePeriodSeconds", 3885),
    Case("drain.shutdownSeconds", 90, f"{POD}/terminationGracePeriodSeconds", 4185),
    Case("drain.gracePeriodSeconds", 7200, f"{SETTING}VOICEFLEET_GRACE_PERIOD_SECONDS", "7200"),
    Case("rollout.maxSurge", 3, "Deployment/spec/strategy/rollingUpdate/maxSurge", 3),
    Case(
        "rollout.maxUnavailable",
        "10%",
        "Deployment/spec/strategy/rollingUpdate/maxUnavailable",
        "10%",
    ),
    Case("rollout.minReadySeconds", 5, "Deployment/spec/minReadySeconds", 5),
    Case("rollout.progressDeadlineSeconds", 900, "Deployment/spec/progressDeadlineSeconds", 900),
    Case("rollout.revisionHistoryLimit", 9, "Deployment/spec/revisionHistoryLimit", 9),
    Case("http.host", "::", f"{SETTING}VOICEFLEET_HTTP_HOST", "::"),
    Case("http.port", 9090, f"{WORKER}/ports/0/containerPort", 9090),
    *(
        Case(f"probes.{probe}.{name}", 7, f"{WORKER}/{probe}Probe/{name}", 7)
        for probe in ("startup", "liveness", "readiness")
        for name in ("periodSeconds", "failureThreshold", "timeoutSeconds")
    ),
    Case(
        "probes.liveness.gracePeriodSeconds",
        9,
        f"{WORKER}/livenessProbe/terminationGracePeriodSeconds",
        9,
    ),
    Case("scale.by", "hpa", "Deployment/spec/replicas", None),
    Case("scale.min", 5, "Deployment/spec/replicas", 5),
    Case("scale.max", 50, "HorizontalPodAutoscaler/spec/maxReplicas", 50, HPA),
    Case("scale.usePercent", 50, "wanted/use", "{calls} / 0.5", RULES),
    Case("scale.bufferSlots", 30, "wanted/buffer", "{calls} + 30", RULES),
    Case(
        "scale.leadSeconds",
        90,
        "wanted/growth",
        "{calls} + clamp_min(deriv({calls}[1m]), 0) * 90 + 8",
        RULES,
    ),
    Case(
        "scale.cpuPercent",
        70,
        "HorizontalPodAutoscaler/spec/metrics/1/containerResource/target/averageUtilization",
        70,
        HPA,
    ),
    *(
        Case(
            f"scale.{way}.{name}",
            7,
            f"HorizontalPodAutoscaler/spec/behavior/scale{way.title()}/policies/{index}/{shown}",
            7,
            HPA,
        )
        for way in ("up", "down")
        for name, index, shown in (
            ("percent", 0, "value"),
            ("pods", 1, "value"),
            ("periodSeconds", 1, "periodSeconds"),
        )
    ),
    Case(
        "scale.down.windowSeconds",
        900,
        "HorizontalPodAutoscaler/spec/behavior/scaleDown/stabilizationWindowSeconds",
        900,
        HPA,
    ),
    Case(
        "scale.keda.prometheusAddress",
        "http://q",
        "ScaledObject/spec/triggers/0/metadata/serverAddress",
        "http://q",
        KEDA,
    ),
    Case(
        "scale.keda.authentication",
        "auth",
        "ScaledObject/spec/triggers/0/authenticationRef/name",
        "auth",
        KEDA,
    ),
    Case("scale.keda.failureThreshold", 8, "ScaledObject/spec/fallback/failureThreshold", 8, KEDA),
    Case(
        "eviction.safe",
        "Always",
        "Deployment/spec/template/metadata/annotations/cluster-autoscaler.kubernetes.io~safe-to-evict",
        "true",
    ),
    Case("eviction.lostNodeSeconds", 90, f"{POD}/tolerations/1/tolerationSeconds", 90),
    Case("podDisruptionBudget.enabled", False, "kinds/PodDisruptionBudget", 0),
    Case(
        "podDisruptionBudget.maxUnavailable",
        "20%",
        "PodDisruptionBudget/spec/maxUnavailable",
        "20%",
    ),
    Case("networkPolicy.enabled", False, "kinds/NetworkPolicy", 0),
    Case("networkPolicy.metricsFrom", [PEER], "NetworkPolicy/spec/ingress/0/from", [PEER]),
    Case("networkPolicy.dnsTo", [PEER], "NetworkPolicy/spec/egress/0/to", [PEER]),
    Case("networkPolicy.livekit.to", [PEER], "NetworkPolicy/spec/egress/1/to", [PEER]),
    Case(
        "networkPolicy.livekit.udpPorts",
        ["40000-40010"],
        "NetworkPolicy/spec/egress/1/ports/4",
        {"protocol": "UDP", "port": 40000, "endPort": 40010},
        {"networkPolicy": {"livekit": {"tcpPorts": ["1", "2", "3"]}}},
    ),
    Case(
        "networkPolicy.livekit.tcpPorts", ["7999"], "NetworkPolicy/spec/egress/1/ports/1/port", 7999
    ),
    Case("networkPolicy.providers.to", [PEER], "NetworkPolicy/spec/egress/2/to", [PEER]),
    Case(
        "networkPolicy.providers.ports", ["8443"], "NetworkPolicy/spec/egress/2/ports/0/port", 8443
    ),
    Case("networkPolicy.telemetry.to", [PEER], "NetworkPolicy/spec/egress/3/to", [PEER], OTLP),
    Case(
        "networkPolicy.privateNetworks",
        ["10.0.0.0/8"],
        "NetworkPolicy/spec/egress/1/to/0/ipBlock/except",
        ["10.0.0.0/8"],
    ),
    Case(
        "networkPolicy.privateNetworks6",
        ["fd00::/8"],
        "NetworkPolicy/spec/egress/1/to/1/ipBlock/except",
        ["fd00::/8"],
    ),
    Case(
        "networkPolicy.extraEgress", [{"to": [PEER]}], "NetworkPolicy/spec/egress/3", {"to": [PEER]}
    ),
    Case(
        "networkPolicy.extraIngress",
        [{"from": [PEER]}],
        "NetworkPolicy/spec/ingress/1",
        {"from": [PEER]},
    ),
    Case("monitoring.labels", {"release": "p"}, "PodMonitor/metadata/labels/release", "p", ALL_ON),
    Case("monitoring.podMonitor.enabled", True, "kinds/PodMonitor", 1),
    Case(
        "monitoring.podMonitor.intervalSeconds",
        5,
        "PodMonitor/spec/podMetricsEndpoints/0/interval",
        "5s",
        ALL_ON,
    ),
    Case("monitoring.rules.enabled", True, "kinds/PrometheusRule", 1),
    Case(
        "monitoring.rules.intervalSeconds",
        5,
        "PrometheusRule/spec/groups/0/interval",
        "5s",
        RULES,
    ),
    Case(
        "monitoring.rules.turnSeconds", 2, "rule/voicefleet:turns_slow:rate", has('le="2.0"'), RULES
    ),
    Case(
        "monitoring.alerts.runbookUrl",
        "https://wiki/runbooks/",
        "rule/VoicefleetNoFreeSlots",
        has("https://wiki/runbooks/VoicefleetNoFreeSlots.md"),
        ALERTS,
    ),
    Case("monitoring.alerts.leastCalls", 7, "rule/VoicefleetCallsDropped", has(">= 7 #"), ALERTS),
    Case("monitoring.alerts.leastTurns", 90, "rule/VoicefleetTurnsSlow", has(">= 90 #"), ALERTS),
    Case(
        "telemetry.endpoint",
        "http://o:4317",
        f"{SETTING}OTEL_EXPORTER_OTLP_ENDPOINT",
        "http://o:4317",
    ),
    Case(
        "telemetry.attributes",
        {"tier": "gold"},
        f"{WORKER}/env/4/value",
        "k8s.namespace.name=talk,k8s.pod.name=$(POD_NAME),k8s.deployment.name=voices-voicefleet,tier=gold",
        OTLP,
    ),
    Case("test.enabled", False, "kinds/Pod", 0),
    Case(
        "test.image.repository",
        "mine/caller",
        "Pod/spec/containers/0/image",
        "mine/caller:0.1.0-demo",
    ),
    Case("test.image.tag", "v9", "Pod/spec/containers/0/image", "voicefleet:v9"),
    Case("test.image.digest", DIGEST, "Pod/spec/containers/0/image", f"voicefleet@{DIGEST}"),
    Case("test.say", "Anyone?", "Pod/spec/containers/0/args/3", "Anyone?"),
    Case("test.expect", "Yes.", "Pod/spec/containers/0/args/5", "Yes."),
    Case("test.timeoutSeconds", 40, "Pod/spec/activeDeadlineSeconds", 240),
    Case("serviceAccount.create", False, f"{POD}/serviceAccountName", "default"),
    Case("serviceAccount.name", "who", f"{POD}/serviceAccountName", "who"),
    Case(
        "serviceAccount.annotations", {"role": "r"}, "ServiceAccount/metadata/annotations/role", "r"
    ),
    Case("security.user", 20001, f"{POD}/securityContext/runAsUser", 20001),
    Case("security.hostUsers", False, f"{POD}/hostUsers", False),
    Case("tmpSize", "128Mi", f"{POD}/volumes/0/emptyDir/sizeLimit", "128Mi"),
    Case("priorityClass.name", "high", f"{POD}/priorityClassName", "high"),
    Case("priorityClass.create", True, "PriorityClass/metadata/name", "talk-voices-voicefleet"),
    Case("priorityClass.value", 5, "PriorityClass/value", 5, {"priorityClass": {"create": True}}),
    Case(
        "spread.zones",
        "DoNotSchedule",
        f"{POD}/topologySpreadConstraints/1/whenUnsatisfiable",
        "DoNotSchedule",
    ),
    Case(
        "spread.nodes",
        "DoNotSchedule",
        f"{POD}/topologySpreadConstraints/0/whenUnsatisfiable",
        "DoNotSchedule",
    ),
    Case("affinity", {"podAffinity": {}}, f"{POD}/affinity", {"podAffinity": {}}),
    Case("nodeSelector", {"arch": "arm64"}, f"{POD}/nodeSelector", {"arch": "arm64"}),
    Case("tolerations", [{"operator": "Exists"}], f"{POD}/tolerations/2", {"operator": "Exists"}),
    Case("runtimeClassName", "gvisor", f"{POD}/runtimeClassName", "gvisor"),
    Case("commonLabels", {"team": "v"}, "NetworkPolicy/metadata/labels/team", "v"),
    Case("commonAnnotations", {"note": "n"}, "NetworkPolicy/metadata/annotations/note", "n"),
    Case("podLabels", {"mesh": "off"}, "Deployment/spec/template/metadata/labels/mesh", "off"),
    Case(
        "podAnnotations",
        {"karpenter.sh/do-not-disrupt": "4h"},
        "Deployment/spec/template/metadata/annotations/karpenter.sh~do-not-disrupt",
        "4h",
    ),
    Case(
        "extraVolumes",
        [{"name": "d", "emptyDir": {}}],
        f"{POD}/volumes/1",
        {"name": "d", "emptyDir": {}},
    ),
    Case(
        "extraVolumeMounts",
        [{"name": "d", "mountPath": "/d"}],
        f"{WORKER}/volumeMounts/1/mountPath",
        "/d",
    ),
    Case("initContainers", [{"name": "i", "image": "i"}], f"{POD}/initContainers/0/name", "i"),
    Case(
        "extraObjects",
        [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "{{ .Release.Name }}-x"}}],
        "Service/metadata/name",
        "voices-x",
    ),
    Case("nameOverride", "calls", "Deployment/metadata/name", "voices-calls"),
    Case("fullnameOverride", "desk", "Deployment/metadata/name", "desk"),
]

# Seen in tests of their own: what refuses values, and what shows files that ops/ may not have yet.
ELSEWHERE = {
    "memory.leastCallMiB",
    "monitoring.alerts.enabled",
    "monitoring.dashboards.enabled",
    "monitoring.dashboards.label",
    "monitoring.dashboards.folder",
}


def test_the_table_has_every_value() -> None:
    keys = {key.name for key in values.leaves(values.read(helm.CHART / "values.yaml"))}
    assert {case.key for case in CASES} | ELSEWHERE == keys


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_a_value_shows_where_it_should(chart: Chart, case: Case) -> None:
    found = chart.render(merged(case.beside, nested(case.key, case.value)))
    seen = look(found, case.where)
    if callable(case.seen):
        assert case.seen(seen)
    else:
        assert seen == case.seen


def look(found: list[Object], where: str) -> Any:
    place, _, name = where.partition("/")
    match place:
        case "settings":
            return settings(found).get(name)
        case "kinds":
            return sum(o["kind"] == name for o in found)
        case "wanted":
            return wanted(found)[name]
        case "rule":
            return json.dumps(rules(found, name), ensure_ascii=False).replace('\\"', '"')
        case _:
            return at(found, where)


def wanted(found: list[Object]) -> dict[str, str]:
    """The formula's rules by their reason, with {calls} for the series of the calls."""
    recorded = rules(found, "voicefleet:slots_wanted_by:sum")
    calls = 'voicefleet:calls:sum{namespace="talk",fleet="voices"}'
    return {rule["labels"]["reason"]: rule["expr"].replace(calls, "{calls}") for rule in recorded}


def rules(found: list[Object], name: str) -> list[Object]:
    """The alerts, or the recording rules, of this name."""
    groups = [g for o in found if o["kind"] == "PrometheusRule" for g in o["spec"]["groups"]]
    return [r for g in groups for r in g["rules"] if name in (r.get("alert"), r.get("record"))]

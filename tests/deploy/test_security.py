"""Hardened as it comes: PodSecurity's `restricted`, no token, secrets in Secrets alone."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.generate import golden
from tests.deploy.rendering import Chart, Object, at, merged, one, pod_template, settings, worker
from tests.deploy.test_kubernetes import EVERYTHING

EXAMPLES = sorted(golden.EXAMPLES.glob("*.yaml"))

# https://kubernetes.io/docs/concepts/security/pod-security-standards/, Restricted.
VOLUME_KINDS = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def pods(found: list[Object]) -> list[Any]:
    return [pod_template(found)["spec"], *(o["spec"] for o in found if o["kind"] == "Pod")]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_every_pod_is_restricted(chart: Chart, example: Path) -> None:
    for pod in pods(chart.example(example)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 10000
        assert pod["securityContext"]["runAsGroup"] > 10000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert all(set(volume) - {"name"} <= VOLUME_KINDS for volume in pod["volumes"])
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert all("hostPort" not in port for port in container.get("ports", []))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_no_pod_has_a_token_or_the_addresses_of_services(chart: Chart, example: Path) -> None:
    found = chart.example(example)
    for pod in pods(found):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
    assert one(found, "ServiceAccount")["automountServiceAccountToken"] is False
    assert not {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"} & {
        o["kind"] for o in found
    }


def test_a_secret_stands_in_its_secret_alone(chart: Chart) -> None:
    values = merged(EVERYTHING, {"secrets": {"values": {"LIVEKIT_API_SECRET": "hunter2-hunter2"}}})
    rendered = chart.template(values)
    found = [o for o in yaml.safe_load_all(rendered.out) if o]
    secret = one(found, "Secret")["data"]["LIVEKIT_API_SECRET"]
    assert base64.b64decode(secret) == b"hunter2-hunter2"
    assert rendered.out.count("hunter2") == 0
    assert rendered.out.count(secret) == 1
    assert "hunter2" not in chart.notes(values)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_an_existing_secret_means_none_is_rendered(chart: Chart, example: Path) -> None:
    assert all(o["kind"] != "Secret" for o in chart.example(example))


def test_a_fleet_cannot_start_without_livekits_keys_and_can_without_a_providers(
    chart: Chart,
) -> None:
    wanted = {
        variable["name"]: variable["valueFrom"]["secretKeyRef"].get("optional", False)
        for variable in worker(chart.render())["env"]
        if "secretKeyRef" in variable.get("valueFrom", {})
    }
    assert [name for name, optional in wanted.items() if not optional] == [
        "LIVEKIT_API_KEY",
        "LIVEKIT_API_SECRET",
    ]


def test_process_1_is_the_command_and_no_shell(chart: Chart) -> None:
    """A shell would swallow SIGTERM, and every deploy would end every call."""
    assert worker(chart.render())["command"] == ["voicefleet"]


def test_media_needs_no_open_port_and_metadata_is_out_of_reach(chart: Chart) -> None:
    policy = one(chart.render(), "NetworkPolicy")["spec"]
    assert [port for rule in policy["ingress"] for port in rule["ports"]] == [
        {"protocol": "TCP", "port": "http"}
    ]
    everywhere = [
        peer["ipBlock"]
        for rule in policy["egress"]
        for peer in rule["to"]
        if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0"
    ]
    assert len(everywhere) == 2
    assert all("169.254.0.0/16" in block["except"] for block in everywhere)


@pytest.mark.parametrize(
    ("endpoint", "peer"),
    [
        ("http://otel-collector.monitoring.svc:4317", {"namespaceSelector": {}}),
        ("http://otel:4317", {"namespaceSelector": {}}),
        ("https://otlp.example.com", None),
    ],
)
def test_the_collector_may_be_reached_where_it_is(
    chart: Chart, endpoint: str, peer: Object | None
) -> None:
    rule = at(chart.render({"telemetry": {"endpoint": endpoint}}), "NetworkPolicy/spec/egress/3")
    port = 443 if endpoint.startswith("https") else 4317
    assert rule["ports"] == [{"protocol": "TCP", "port": port}]
    assert rule["to"][0] == peer or rule["to"][0]["ipBlock"]["cidr"] == "0.0.0.0/0"


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("wss://a.livekit.cloud", 443),
        ("ws://livekit.example", 80),
        ("wss://livekit.example:7443/path", 7443),
        ("https://livekit.example", 443),
        ("wss://[2001:db8::1]:8443", 8443),
    ],
)
def test_signalling_may_go_where_the_url_says(chart: Chart, url: str, port: int) -> None:
    found = chart.render({"livekit": {"url": url}})
    assert at(found, "NetworkPolicy/spec/egress/1/ports/0") == {"protocol": "TCP", "port": port}


def test_the_caller_of_helm_test_is_under_the_policy_and_outside_the_fleet(chart: Chart) -> None:
    found = chart.render()
    labels = one(found, "Pod")["metadata"]["labels"]
    policy = at(found, "NetworkPolicy/spec/podSelector/matchLabels")
    fleet = at(found, "Deployment/spec/selector/matchLabels")
    assert policy.items() <= labels.items()
    assert not fleet.items() <= labels.items()
    assert fleet == at(found, "PodDisruptionBudget/spec/selector/matchLabels")


def test_an_agents_file_is_mounted_so_that_it_cannot_change_under_a_call(chart: Chart) -> None:
    content = '\n   # indented first\nprint("{{ not a template }}")\n'
    found = chart.render({"agent": {"file": "a.py", "files": {"a.py": content, "b.md": "b"}}})
    (files,) = [o["data"] for o in found if o["metadata"]["name"] == "voices-voicefleet-agent"]
    assert files == {"a.py": content, "b.md": "b\n"}
    mounts = [m for m in worker(found)["volumeMounts"] if m["name"] == "agent"]
    assert [(m["mountPath"], m["subPath"]) for m in mounts] == [
        ("/agent/a.py", "a.py"),
        ("/agent/b.md", "b.md"),
    ]
    assert settings(found)["VOICEFLEET_AGENT"] == "/agent/a.py"

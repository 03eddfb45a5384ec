"""What `helm install` says at its end: the arithmetic of this very install, and its risks."""

import pytest

from tests.deploy.rendering import Chart, Values, merged

HPA: Values = {
    "scale": {"by": "hpa"},
    "monitoring": {"rules": {"enabled": True}, "podMonitor": {"enabled": True}},
    "image": {"digest": f"sha256:{'a' * 64}"},
}


def test_notes_show_the_arithmetic_of_this_install(chart: Chart) -> None:
    told = chart.notes(
        merged(HPA, {"slots": 10, "scale": {"min": 3, "max": 20, "bufferSlots": 25}})
    )
    assert 'voices-voicefleet hosts assistant as "assistant"' in told
    assert "(4Gi × 90 % - 672 MiB) / 10 = 301 MiB a call" in told
    assert "4125 s; a drain takes at most 3600 (calls) + 20 (farewell)" in told
    formula = "ceil(max(calls / 0.75, calls + 25, calls + growth × 60 s + 10) / 10)"
    assert f"3 to 20 by hpa: {formula}" in told
    assert "0 calls: max(0, 25, 10) / 10 → 3 pods" in told
    assert "30 calls: max(40, 55, 40) / 10 → 6 pods" in told
    assert "100 calls: max(133.3, 125, 110) / 10 → 14 pods" in told
    assert "200 calls in 20 pods; up to 150 with the buffer kept" in told


def test_notes_of_a_fixed_fleet_count_a_lost_pod(chart: Chart) -> None:
    told = chart.notes({"scale": {"min": 3}})
    assert "3, fixed: 24 calls, and 16 while one pod is lost" in told


def test_a_careful_install_has_no_risks(chart: Chart) -> None:
    assert "Risks" not in chart.notes(HPA)


RISKS: dict[str, tuple[Values, str]] = {
    "a tag": ({"image": {"digest": ""}}, "image.digest is not set"),
    "keys in values": (
        {
            "secrets": {
                "existingSecret": "",
                "values": {"LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"},
            }
        },
        "Helm keeps these keys in its release",
    ),
    "no network policy": (
        {"networkPolicy": {"enabled": False}},
        "the cloud's metadata service too",
    ),
    "no name": ({"agent": {"file": "/app/a.py"}}, "LiveKit gives it every new room"),
    "many slots": (
        {"slots": 15, "memory": {"leastCallMiB": 200}},
        "15 slots on 2 CPU is more than the 7 for each CPU",
    ),
    "a CPU limit": ({"resources": {"limits": {"cpu": "2"}}}, "stopped for up to 100 ms at a time"),
    "less asked than allowed": (
        {"resources": {"requests": {"memory": "2Gi"}}},
        "resources.requests.memory is below the limit",
    ),
    "calls longer than a drain": (
        {"settings": {"VOICEFLEET_CALL_LONGEST_SECONDS": 7200}},
        "VOICEFLEET_CALL_LONGEST_SECONDS is 7200, and a drain waits for 3600 s",
    ),
    "node autoscalers and long calls": (
        {"eviction": {"safe": "Always"}},
        "shortens the grace period to 600 s",
    ),
    "drains over an hour": ({"drain": {"timeoutSeconds": 7200}}, "(GKE) wait an hour"),
    "an impatient probe": (
        {"probes": {"startup": {"failureThreshold": 3}}},
        "probes.startup gives up after 15 s, and a start waits for LiveKit up to 120 s",
    ),
    "the other protocol's port": (
        {"telemetry": {"endpoint": "http://otel.monitoring.svc:4317"}},
        "port 4317, which is gRPC's",
    ),
    "no eviction": ({"eviction": {"safe": "Never"}}, "until you delete the pods yourself"),
    "no budget": ({"podDisruptionBudget": {"enabled": False}}, "may drain all pods at once"),
    "one pod": ({"scale": {"min": 1}}, "nobody answers until the next one is ready"),
    "a small buffer": (
        {"scale": {"bufferSlots": 3}},
        "scale.bufferSlots is 3, less than the 8 slots of a pod",
    ),
    "no rules": (
        {"monitoring": {"rules": {"enabled": False}}},
        "needs the series voicefleet:slots_wanted:sum",
    ),
    "nobody scrapes": (
        {"monitoring": {"podMonitor": {"enabled": False}}},
        "see ops/autoscaling/scrape.yaml",
    ),
    "no guard": ({"scale": {"cpuPercent": 0}}, "heavier than planned order no pods"),
}


@pytest.mark.parametrize("name", RISKS)
def test_a_risky_combination_is_named_and_nothing_else(chart: Chart, name: str) -> None:
    values, risk = RISKS[name]
    told = chart.notes(merged(HPA, values))
    risks = told.partition("Risks\n")[2].partition("\n\nNext")[0].splitlines()
    assert len(risks) == 1
    assert risk in risks[0]

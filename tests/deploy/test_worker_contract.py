"""The chart and the worker mean the same: names of settings, ports, paths and arithmetic."""

import re
from pathlib import Path

import pytest

from deploy.generate import golden, helm, values
from deploy.generate import settings as in_the_chart
from tests.deploy.rendering import Chart, Values, at, merged, one, settings, worker
from tests.deploy.test_kubernetes import EVERYTHING
from voicefleet import settings as in_the_worker
from voicefleet.job import agent_file
from voicefleet.pod import slots
from voicefleet.settings.lab import Lab
from voicefleet.settings.pod import Pod

# Not the worker's: LiveKit's, Kubernetes' and OpenTelemetry's own names.
OTHERS = {"NUM_CPUS", "POD_NAME"}


def environment(chart: Chart, given: Values) -> set[str]:
    found = chart.render(given)
    return {v["name"] for v in worker(found)["env"]} | set(settings(found))


def test_every_name_that_the_chart_sets_is_a_setting_of_the_worker(chart: Chart) -> None:
    without_extras = merged(EVERYTHING, {"extraEnv": []})
    names = environment(chart, merged(without_extras, {"settings": {"VOICEFLEET_STT": "openai"}}))
    own = {name for name in names if not name.startswith("OTEL_")} - OTHERS
    assert own - set(in_the_worker.declared()) == set()


def test_every_setting_can_be_set_and_by_one_key_alone() -> None:
    own, secrets = set(in_the_chart.own_settings()), set(in_the_chart.secret_names())
    schema = values.leaves(values.read(helm.CHART / "values.yaml"))
    assert "settings" in {key.name for key in schema}
    assert own.isdisjoint(secrets)
    in_settings = set(in_the_chart.settings_schema()["properties"])
    declared = set(in_the_worker.declared())
    assert declared - in_settings == {str(f.validation_alias) for f in Lab.model_fields.values()}


def test_the_charts_secrets_are_the_workers() -> None:
    text = (helm.CHART / "templates" / "_environment.tpl").read_text()
    part = re.search(r'define "voicefleet.secretSettings" -}}\n(.*?)\n', text)
    assert part
    assert set(part[1].split()) == set(in_the_chart.secret_names())


def test_own_settings_name_keys_that_exist() -> None:
    keys = {key.name for key in values.leaves(values.read(helm.CHART / "values.yaml"))}
    groups = {name.rpartition(".")[0] for name in keys} | {name.split(".")[0] for name in keys}
    for where in in_the_chart.own_settings().values():
        named = re.findall(r"[a-z]+(?:\.[A-Za-z]+)+|^\w+$|^\w+(?= and)", where)
        assert set(named) <= keys | groups, where


def test_memory_and_slots_are_counted_as_the_worker_counts(chart: Chart) -> None:
    defaults = {k.name: k.default for k in values.leaves(values.read(helm.CHART / "values.yaml"))}
    assert defaults["memory.podMiB"] * slots.MIB == slots.PARENT_BYTES
    assert defaults["memory.plannedPercent"] / 100 == slots.MEMORY_FULL_RATIO
    assert defaults["memory.leastCallMiB"] * slots.MIB == slots.LEAST_CALL_LIMIT_BYTES
    limit = int(settings(chart.render())["VOICEFLEET_CALL_MEMORY_LIMIT_BYTES"])
    assert limit == slots.call_memory_limit_bytes(4 * 1024 * slots.MIB, 8)
    by_cpu = slots.decide(None, cpu_share=2, memory_limit_bytes=None).slots
    assert defaults["slots"] == by_cpu
    assert f"4 for each of 2 CPU would make {by_cpu}" in chart.notes()


@pytest.mark.parametrize(
    "memory", ["4Gi", "4096Mi", "4294967296", 4294967296, "4.5G", "6Gi", "12T"]
)
def test_a_calls_limit_follows_from_memory_in_every_unit(chart: Chart, memory: str | int) -> None:
    units = {"Gi": 2**30, "Mi": 2**20, "G": 10**9, "T": 10**12, "": 1}
    number, unit = re.fullmatch(r"([\d.]+)(\D*)", str(memory)).groups()  # type: ignore[union-attr]
    bytes_ = int(float(number) * units[unit])
    found = chart.render(
        {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": memory}}}
    )
    told = settings(found)
    expected = slots.call_memory_limit_bytes(bytes_, 8)
    assert expected is not None
    assert abs(int(told["VOICEFLEET_CALL_MEMORY_LIMIT_BYTES"]) - expected) <= 1
    assert int(told["VOICEFLEET_CALL_MEMORY_WARN_BYTES"]) < int(
        told["VOICEFLEET_CALL_MEMORY_LIMIT_BYTES"]
    )


def test_the_worker_takes_the_settings_that_the_chart_gives_it(
    chart: Chart, monkeypatch: pytest.MonkeyPatch, clean_environment: None
) -> None:
    for name, value in settings(
        chart.render({"settings": {"VOICEFLEET_TTS": "openai:verse"}})
    ).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VOICEFLEET_MEMORY_LIMIT_BYTES", str(4 * 1024 * slots.MIB))
    monkeypatch.setenv("VOICEFLEET_CPU_REQUEST_MILLICORES", "2000")
    loaded = in_the_worker.load(env_file=None)
    assert loaded.pod.slots == 8
    assert loaded.pod.http_host == "0.0.0.0"
    assert loaded.pod.call_memory_limit_bytes == 395103436
    assert loaded.pod.grace_period_seconds == loaded.pod.longest_stop_seconds


def test_the_grace_period_covers_a_drain_and_all_that_follows_its_deadline(chart: Chart) -> None:
    found = chart.render({"drain": {"timeoutSeconds": 1800}})
    grace = at(found, "Deployment/spec/template/spec/terminationGracePeriodSeconds")
    told = settings(found)
    pod = Pod(VOICEFLEET_DRAIN_TIMEOUT_SECONDS=1800)
    assert grace == pod.longest_stop_seconds == 1800 + 20 + 300 + 2 * 60 + 85
    assert told["VOICEFLEET_GRACE_PERIOD_SECONDS"] == str(grace)
    assert told["VOICEFLEET_DRAIN_TIMEOUT_SECONDS"] == "1800"
    assert told["VOICEFLEET_SESSION_END_TIMEOUT_SECONDS"] == "300"
    defaults = {k.name: k.default for k in values.leaves(values.read(helm.CHART / "values.yaml"))}
    assert defaults["drain.timeoutSeconds"] == Pod().drain_timeout_seconds
    assert defaults["drain.hooksSeconds"] == Pod().session_end_timeout_seconds


@pytest.mark.parametrize("example", sorted(golden.EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_worker_starts_with_the_settings_of_every_example(
    chart: Chart, example: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None
) -> None:
    found = chart.example(example)
    for name, value in settings(found).items():
        monkeypatch.setenv(name, value)
    assert in_the_worker.load(env_file=None).pod.slots == int(settings(found)["VOICEFLEET_SLOTS"])


def test_liveness_has_a_grace_of_its_own_and_each_probe_its_endpoint(chart: Chart) -> None:
    container = worker(chart.render())
    paths = {
        probe: container[f"{probe}Probe"]["httpGet"]["path"]
        for probe in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/startupz", "liveness": "/livez", "readiness": "/readyz"}
    assert container["livenessProbe"]["terminationGracePeriodSeconds"] == 30
    assert container["startupProbe"]["terminationGracePeriodSeconds"] == 30
    assert "terminationGracePeriodSeconds" not in container["readinessProbe"]


def test_a_start_may_wait_for_livekit_before_its_probe_gives_up(chart: Chart) -> None:
    probe = worker(chart.render())["startupProbe"]
    wait = in_the_worker.declared()["VOICEFLEET_LIVEKIT_WAIT_SECONDS"].default
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 2 * wait


@pytest.mark.parametrize("agent", ["assistant", "interview"])
def test_helm_test_calls_the_agent_that_ships_by_its_name(chart: Chart, agent: str) -> None:
    args = one(chart.render({"agent": {"file": agent}}), "Pod")["spec"]["containers"][0]["args"]
    assert args == ["call", agent, "--say", "Hello.", "--timeout", "20"]
    assert agent_file.load(agent).agent_name == agent


def test_helm_test_places_no_call_where_the_name_is_not_known(chart: Chart) -> None:
    mine = {"agent": {"file": "/app/desk.py"}}
    assert all(o["kind"] != "Pod" for o in chart.render(mine))
    assert "`helm test` places no call" in chart.notes(mine)

"""What can be seen of the image without building it, and that chart and image agree."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from deploy.generate import golden, helm, values
from tests.deploy.rendering import Chart, one, pod_template, worker
from voicefleet.cli import app
from voicefleet.job import agent_file
from voicefleet.settings.pod import Pod

DOCKERFILE = (golden.ROOT / "Dockerfile").read_text()
DEFAULTS = {k.name: k.default for k in values.leaves(values.read(helm.CHART / "values.yaml"))}


def of(instruction: str) -> list[str]:
    return re.findall(rf"^{instruction} (.*)$", DOCKERFILE, re.M)


def test_the_worker_alone_is_what_is_built_by_default() -> None:
    assert re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.M)[-1] == "runtime"
    runtime = DOCKERFILE.partition("AS runtime")[2]
    assert "COPY --from=lab" not in runtime
    assert (
        "rm -r worker/voicefleet/lab" in DOCKERFILE.partition("AS worker")[2].partition("FROM")[0]
    )


def test_every_stage_stands_on_the_base_that_is_an_argument() -> None:
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.M))
    assert bases - {"dependencies", "base"} == {"${PYTHON_IMAGE}"}


def test_the_command_is_process_1_of_image_pod_and_helm_test_alike(chart: Chart) -> None:
    (entrypoint,) = of("ENTRYPOINT")
    (name,) = json.loads(entrypoint)
    project = tomllib.loads((golden.ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"][name] == "voicefleet.__main__:main"
    found = chart.render({"agent": {"name": "assistant"}})
    assert worker(found)["command"] == [name]
    assert json.loads(of("CMD")[-1]) == worker(found)["args"] == ["start"]
    assert "start" in app.VERBS
    (caller,) = one(found, "Pod")["spec"]["containers"]
    assert (caller["command"], caller["args"][0]) == ([name], "call")


def test_the_image_finds_the_command_on_its_path() -> None:
    """`kubectl exec … -- voicefleet check` and the chart name no folder."""
    assert "PATH=/opt/voicefleet/bin:$PATH" in DOCKERFILE.partition("AS base")[2]


def test_the_image_has_the_user_and_the_port_of_the_chart(chart: Chart) -> None:
    user = DEFAULTS["security.user"]
    assert of("USER") == [f"{user}:{user}"]
    assert of("EXPOSE") == [str(DEFAULTS["http.port"])] == [str(Pod().http_port)]
    assert pod_template(chart.render())["spec"]["securityContext"]["runAsUser"] == user


def test_a_secret_in_the_folder_cannot_get_into_a_layer() -> None:
    ignored = (golden.ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert not [rule for rule in rules if rule.startswith("!.")]


def test_what_is_installed_is_what_the_lock_has() -> None:
    install = (golden.ROOT / "deploy" / "image" / "install").read_text()
    assert "--verify-hashes" in install
    assert "--constraint requirements.lock" in install
    assert "pip install" not in DOCKERFILE.replace("pip install --quiet uv==", "").replace(
        "uv pip install --quiet --python /opt/voicefleet --no-deps dist/*.whl", ""
    )


def test_the_agent_of_the_air_gapped_example_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    example = yaml.safe_load((golden.EXAMPLES / "air-gapped.yaml").read_text())["agent"]
    path = tmp_path / "air_gapped_reception.py"
    path.write_text(example["files"][example["file"]])
    hosted = agent_file.load(str(path))
    assert hosted.agent_name == example["name"]
    assert hosted.uses_our_providers

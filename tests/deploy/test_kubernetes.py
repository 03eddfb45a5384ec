"""Every object is what Kubernetes 1.33 to 1.37 and the operators take, strictly."""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils

from deploy.generate import golden, manifests
from tests.deploy.rendering import Chart, Object, Values, merged, objects

VERSIONS = ["1.33", "1.34", "1.35", "1.36", "1.37"]
EXAMPLES = sorted(golden.EXAMPLES.glob("*.yaml"))

# All that the chart can write, beside the examples.
EVERYTHING: Values = {
    "secrets": {
        "existingSecret": "",
        "values": {"LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"},
        "rolloutOnChange": True,
    },
    "agent": {"file": "a.py", "name": "a", "files": {"a.py": "pass\n"}},
    "extraEnv": [{"name": "SHOP", "value": "7"}],
    "extraVolumes": [{"name": "data", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "data", "mountPath": "/data"}],
    "initContainers": [{"name": "init", "image": "i", "restartPolicy": "Always"}],
    "priorityClass": {"create": True},
    "security": {"hostUsers": False},
    "eviction": {"safe": "Always"},
    "runtimeClassName": "gvisor",
    "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "tolerations": [{"operator": "Exists"}],
    "telemetry": {"endpoint": "http://otel:4317"},
    "scale": {"by": "hpa"},
    "monitoring": {
        name: {"enabled": True} for name in ("podMonitor", "rules", "alerts", "dashboards")
    },
}

# Where the operators keep their CustomResourceDefinitions, by the API group.
OPERATORS = {
    "keda.sh": ("github.com/kedacore/keda/v2@v2.21.0", "config/crd/bases/keda.sh_{}.yaml"),
    "monitoring.coreos.com": (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "example/prometheus-operator-crd/monitoring.coreos.com_{}.yaml",
    ),
    "external-secrets.io": (
        "github.com/external-secrets/external-secrets@v1.3.2",
        "config/crds/bases/external-secrets.io_{}.yaml",
    ),
}


@pytest.fixture(autouse=True)
def read_schemas_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """kubernetes-validate reads megabytes of definitions anew for every object."""
    monkeypatch.setattr(utils, "schema_contents", SCHEMAS)


SCHEMAS = cache(utils.schema_contents)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_example_is_what_kubernetes_takes(chart: Chart, version: str) -> None:
    for example in EXAMPLES:
        for found in chart.example(example, kubernetes=f"{version}.0"):
            check(found, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_all_that_the_chart_can_write_is_what_kubernetes_takes(chart: Chart, version: str) -> None:
    for found in chart.render(EVERYTHING, kubernetes=f"{version}.0"):
        check(found, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_plain_manifests_are_what_kubernetes_takes(version: str) -> None:
    names = yaml.safe_load((manifests.FOLDER / "kustomization.yaml").read_text())["resources"]
    found = [o for name in names for o in objects((manifests.FOLDER / name).read_text())]
    assert len(found) == len(names)
    for each in found:
        check(each, version)


def test_a_field_that_does_not_exist_is_found(chart: Chart) -> None:
    """Strict, or a misspelt field would pass, and be dropped by the API server without a word."""
    (deployment,) = [o for o in chart.render() if o["kind"] == "Deployment"]
    broken = merged(deployment, {"spec": {"template": {"spec": {"graceSeconds": 1}}}})
    with pytest.raises(kubernetes_validate.ValidationError, match="graceSeconds"):
        check(broken, VERSIONS[-1])


def test_an_older_kubernetes_is_refused(chart: Chart) -> None:
    refused = chart.template(kubernetes="1.32.9")
    assert not refused.is_ok
    assert "kubeVersion: >=1.33.0-0" in refused.err


def check(found: Object, version: str) -> None:
    group = str(found["apiVersion"]).partition("/")[0]
    if group in OPERATORS:
        jsonschema.validate(found, definition(group, found["kind"], found["apiVersion"]))
    else:
        kubernetes_validate.validate(found, version, strict=True)


@cache
def definition(group: str, kind: str, api_version: str) -> dict[str, Any]:
    """The schema of an operator's own object, closed where its author left it open by default."""
    module, path = OPERATORS[group]
    text = (module_folder(module) / path.format(f"{kind.lower()}s")).read_text(encoding="utf-8")
    versions = yaml.safe_load(text)["spec"]["versions"]
    (served,) = [v for v in versions if v["name"] == api_version.partition("/")[2] and v["served"]]
    schema: dict[str, Any] = closed(served["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


@cache
def module_folder(module: str) -> Path:
    """Go keeps a module's files once they were asked for."""
    if shutil.which("go") is None:
        pytest.skip("Go, which fetches the operators' definitions, is not on PATH")
    done = subprocess.run(
        ["go", "mod", "download", "-json", module], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"{module} cannot be fetched: {done.stdout}")
    return Path(json.loads(done.stdout)["Dir"])


def closed(schema: Any) -> Any:
    """A structural schema prunes what it does not name; here that is an error."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result = {name: closed(value) for name, value in schema.items()}
    if isinstance(schema.get("pattern"), str):
        # Go takes flags anywhere, Python at the beginning.
        result["pattern"] = schema["pattern"].replace("^(?i)", "(?i)^")
    is_object = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if is_object and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        result = {"type": ["integer", "string"]}
    return result

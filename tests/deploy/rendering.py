"""The chart as a test sees it: values in, Kubernetes objects or a refusal out."""

import copy
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from deploy.generate import helm

Object = dict[str, Any]
Values = Mapping[str, Any]

# What a chart cannot know: where LiveKit is, and where its keys are.
MINIMAL: Values = {
    "livekit": {"url": "wss://your-project.livekit.cloud"},
    "secrets": {"existingSecret": "voicefleet-keys"},
}

NEWEST_KUBERNETES = "1.37.0"


@dataclass(frozen=True, slots=True)
class Chart:
    """Helm and our chart. Values are laid over MINIMAL, and rendered once."""

    binary: Path
    folder: Path
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    seen: dict[str, helm.Rendered] = field(default_factory=dict)

    def render(
        self,
        values: Values | None = None,
        *,
        kubernetes: str = NEWEST_KUBERNETES,
        chart: Path = helm.CHART,
    ) -> list[Object]:
        rendered = self.template(values, kubernetes=kubernetes, chart=chart)
        assert rendered.is_ok, rendered.err
        return objects(rendered.out)

    def example(self, path: Path, *, kubernetes: str = NEWEST_KUBERNETES) -> list[Object]:
        """What an example of deploy/helm/examples renders to, alone."""
        arguments = ("--values", str(path), "--kube-version", kubernetes)
        rendered = helm.template(self.binary, *arguments)
        assert rendered.is_ok, rendered.err
        return objects(rendered.out)

    def template(
        self,
        values: Values | None = None,
        *,
        kubernetes: str = NEWEST_KUBERNETES,
        chart: Path = helm.CHART,
    ) -> helm.Rendered:
        key = json.dumps([values, kubernetes, str(chart)])
        if key not in self.seen:
            file = self.values_file(values)
            arguments = ("--values", str(file), "--kube-version", kubernetes)
            self.seen[key] = helm.template(self.binary, *arguments, chart=chart)
        return self.seen[key]

    def refusal(self, values: Values | None = None, *, exactly: bool = False) -> str:
        """What Helm says to values that it does not take; `exactly` leaves MINIMAL out."""
        file = self.values_file(values, exactly=exactly)
        rendered = helm.template(self.binary, "--values", str(file))
        assert not rendered.is_ok, "the chart took values that it should refuse"
        assert rendered.out == ""
        return rendered.err

    def notes(self, values: Values | None = None) -> str:
        """What `helm install` prints at its end."""
        rendered = helm.run(
            *(self.binary, "install", "voices", str(helm.CHART), "--namespace", "talk"),
            *("--dry-run=client", "--values", str(self.values_file(values))),
        )
        assert rendered.is_ok, rendered.err
        return rendered.out.partition("NOTES:\n")[2]

    def values_file(self, values: Values | None, *, exactly: bool = False) -> Path:
        path = self.folder / f"{next(self.numbers)}.json"
        whole = dict(values or {}) if exactly else merged(MINIMAL, values or {})
        # JSON, which is YAML without surprises: Helm reads a bare `n` as false.
        path.write_text(json.dumps(whole), encoding="utf-8")
        return path


def objects(text: str) -> list[Object]:
    return [o for o in yaml.safe_load_all(text) if o]


def merged(below: Values, above: Values) -> dict[str, Any]:
    """Maps are laid over each other, as Helm does; everything else is replaced."""
    result = copy.deepcopy(dict(below))
    for name, value in above.items():
        known = result.get(name)
        if isinstance(known, dict) and isinstance(value, Mapping):
            result[name] = merged(known, value)
        else:
            result[name] = copy.deepcopy(value)
    return result


def nested(path: str, value: Any) -> dict[str, Any]:
    """`nested("scale.min", 3)` is {"scale": {"min": 3}}."""
    for name in reversed(path.split(".")):
        value = {name: value}
    result: dict[str, Any] = value
    return result


def one(found: list[Object], kind: str) -> Object:
    """The only object of a kind."""
    (only,) = [o for o in found if o["kind"] == kind]
    return only


def kinds(found: list[Object]) -> list[str]:
    return sorted(o["kind"] for o in found)


def pod_template(found: list[Object]) -> Object:
    template: Object = one(found, "Deployment")["spec"]["template"]
    return template


def worker(found: list[Object]) -> Object:
    (only,) = pod_template(found)["spec"]["containers"]
    container: Object = only
    return container


def settings(found: list[Object]) -> dict[str, str]:
    """What the pod's ConfigMap says."""
    name = worker(found)["envFrom"][0]["configMapRef"]["name"]
    (data,) = [
        o["data"] for o in found if o["kind"] == "ConfigMap" and o["metadata"]["name"] == name
    ]
    result: dict[str, str] = data
    return result


def at(found: list[Object], where: str) -> Any:
    """`at(found, "Deployment/spec/replicas")`; a number picks from a list, and what is not there is
    None.
    """
    kind, *steps = where.split("/")
    value: Any = one(found, kind)
    for step in steps:
        step = step.replace("~", "/")
        if isinstance(value, list):
            value = value[int(step)] if int(step) < len(value) else None
        elif value is not None:
            value = value.get(step)
    return value

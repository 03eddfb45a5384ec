"""kubectl and Helm, as an operator runs them, in one namespace of the cluster of KUBECONFIG."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.generate import helm as chart_files

Object = dict[str, Any]

LOOK_EVERY_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Done:
    """A program that ended."""

    code: int
    out: str
    err: str

    def checked(self) -> str:
        assert self.code == 0, f"{self.err}\n{self.out}"
        return self.out


@dataclass(frozen=True, slots=True)
class Cluster:
    """One namespace."""

    namespace: str

    def kubectl(self, *arguments: str, given: str | None = None) -> Done:
        return run("kubectl", "--namespace", self.namespace, *arguments, given=given)

    def helm(self, *arguments: str, given: str | None = None) -> Done:
        return run("helm", "--namespace", self.namespace, *arguments, given=given)

    def create(self, document: Mapping[str, Any]) -> None:
        self.kubectl("create", "-f", "-", given=json.dumps(document)).checked()

    def get(self, kinds: str, *arguments: str) -> list[Object]:
        found = self.kubectl("get", kinds, "--output", "json", *arguments).checked()
        items: list[Object] = json.loads(found)["items"]
        return items

    def pods(self) -> dict[str, Object]:
        """The fleet's pods by their uid, those that are being ended among them."""
        found = self.get("pods", "--selector", "app.kubernetes.io/component=worker")
        return {pod["metadata"]["uid"]: pod for pod in found}

    def metrics(self, pod: str) -> dict[str, float]:
        """A pod's /metrics by name and labels, as the API server reads them."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:8081/proxy/metrics"
        lines = self.kubectl("get", "--raw", path).checked().splitlines()
        values = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in values}

    def log(self, pod: str) -> list[Object]:
        lines = self.kubectl("logs", pod).checked().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


def run(*command: str, given: str | None = None) -> Done:
    done = subprocess.run(command, capture_output=True, text=True, input=given, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_leaving(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


async def until(what: str, holds: Callable[[], bool], *, within_seconds: float) -> float:
    """Wait, and tell how long; a cluster's state is asked for, from a thread."""
    began = time.monotonic()
    while not await asyncio.to_thread(holds):
        assert time.monotonic() - began < within_seconds, f"not within {within_seconds} s: {what}"
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    return time.monotonic() - began


CHART = str(chart_files.CHART)
EXAMPLES = sorted((chart_files.CHART / "examples").glob("*.yaml"))

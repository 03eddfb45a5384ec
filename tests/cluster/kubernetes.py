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

# Each look is a kubectl of its own, and two cores have calls to carry.
LOOK_EVERY_SECONDS = 1.0


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

    async def tell(self, *arguments: str, given: str | None = None) -> str:
        """kubectl, while the callers' voices go on: nothing may block their event loop."""
        done = await asyncio.to_thread(self.kubectl, *arguments, given=given)
        return done.checked()

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

    def names(self) -> list[str]:
        """The fleet's pods that are to stay, by name."""
        pods = self.pods().values()
        return sorted(pod["metadata"]["name"] for pod in pods if not is_leaving(pod))

    def busy(self) -> dict[str, int]:
        """The pods with calls, those that drain among them, and how many each has."""
        names = [pod["metadata"]["name"] for pod in self.pods().values() if is_started(pod)]
        calls = {name: int(self.metrics(name).get("voicefleet_calls_active", 0)) for name in names}
        return {name: count for name, count in calls.items() if count}

    def metrics(self, pod: str) -> dict[str, float]:
        """A pod's /metrics by name and labels, as the API server reads them; none where no pod
        answers.
        """
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:8081/proxy/metrics"
        lines = self.kubectl("get", "--raw", path).out.splitlines()
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


def is_started(pod: Object) -> bool:
    """Whether its endpoints listen, or have."""
    containers = pod.get("status", {}).get("containerStatuses", [])
    return bool(containers) and all(c.get("started") for c in containers)


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

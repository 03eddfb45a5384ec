"""A real Prometheus beside the cluster, with the scrape configuration and rules that we ship.

Debian builds Prometheus without Kubernetes' discovery. What that says of pods is told to it by a
file, under the same labels, so that the rest of the configuration is as shipped.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from deploy.generate import golden
from tests.cluster import fleet
from tests.cluster.kubernetes import CHART, Cluster, Object
from voicefleet.lab import prometheus
from voicefleet.lab.prometheus import Prometheus

OPS = golden.ROOT / "ops" / "autoscaling"
DISCOVERED = "pods.json"
DISCOVER_EVERY_SECONDS = 2.0


@asynccontextmanager
async def running(
    cluster: Cluster, host: str, folder: Path, values: dict[str, Any]
) -> AsyncIterator[Prometheus]:
    """Prometheus for the release of these values, for as long as the block lasts."""
    (folder / "rules.yml").write_text(json.dumps({"groups": _groups(cluster, values)}))
    discovering = asyncio.create_task(_discover(cluster, folder / DISCOVERED), name="discover pods")
    try:
        found = prometheus.find()
        async with prometheus.configured(found, _configuration(), folder, host) as asked:
            yield asked
    finally:
        discovering.cancel()
        await asyncio.wait({discovering})


def adapter_rules(folder: Path) -> Path:
    """What ops/ has for the adapter's chart, as the adapter's own configuration file."""
    shipped = yaml.safe_load((OPS / "prometheus-adapter.yaml").read_text())
    path = folder / "adapter.yml"
    path.write_text(yaml.safe_dump({"externalRules": shipped["rules"]["external"]}))
    return path


def _configuration() -> dict[str, Any]:
    """As shipped, but for where the pods are known from."""
    document: dict[str, Any] = yaml.safe_load((OPS / "scrape.yaml").read_text())
    (job,) = document["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    return document | {
        "scrape_configs": [job | {"file_sd_configs": [{"files": [DISCOVERED]}]}],
        "rule_files": ["rules.yml"],
    }


async def _discover(cluster: Cluster, file: Path) -> None:
    """Keep the file as Kubernetes' discovery keeps its targets: every port of every pod."""
    while True:
        pods = await asyncio.to_thread(cluster.get, "pods")
        new = file.with_suffix(".new")
        new.write_text(json.dumps([target for pod in pods for target in _targets(pod)]))
        new.rename(file)
        await asyncio.sleep(DISCOVER_EVERY_SECONDS)


def _targets(pod: Object) -> list[Object]:
    address = pod["status"].get("podIP")
    if address is None:
        return []
    labels = {
        "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
        "__meta_kubernetes_pod_name": pod["metadata"]["name"],
    } | {
        f"__meta_kubernetes_pod_label_{re.sub('[^a-zA-Z0-9_]', '_', name)}": value
        for name, value in pod["metadata"]["labels"].items()
    }
    return [
        {
            "targets": [f"{address}:{port['containerPort']}"],
            "labels": labels | {"__meta_kubernetes_pod_container_port_name": port["name"]},
        }
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
    ]


def _groups(cluster: Cluster, values: dict[str, Any]) -> Any:
    """The rules that the chart has for the Prometheus operator."""
    version = json.loads(cluster.kubectl("version", "--output", "json").checked())
    rendered = cluster.helm(
        *("template", fleet.RELEASE, CHART, "--values", "-"),
        *("--set", "monitoring.rules.enabled=true"),
        *("--show-only", "templates/prometheusrule-capacity.yaml"),
        *("--kube-version", version["serverVersion"]["gitVersion"]),
        given=json.dumps(values),
    ).checked()
    return yaml.safe_load(rendered)["spec"]["groups"]

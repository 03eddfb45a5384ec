"""A real Prometheus beside the cluster, with the scrape configuration and rules that we ship."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from deploy.generate import golden
from tests.cluster import fleet, outside
from tests.cluster.kubernetes import CHART, Cluster
from worker import settings
from worker.lab import processes, prometheus
from worker.lab.prometheus import Prometheus

OPS = golden.ROOT / "ops" / "autoscaling"


@asynccontextmanager
async def running(
    cluster: Cluster, host: str, folder: Path, values: dict[str, Any]
) -> AsyncIterator[Prometheus]:
    """Prometheus for the release of these values, for as long as the block lasts."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        address = f"{host}:{probe.getsockname()[1]}"
    (folder / "rules.yml").write_text(json.dumps({"groups": _groups(cluster, values)}))
    (folder / "prometheus.yml").write_text(json.dumps(_configuration(cluster)))
    program = processes.start(
        "prometheus",
        [
            str(prometheus.find()),
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address={address}",
        ],
        environment=settings.environment(),
        folder=folder,
    )
    try:
        await processes.wait_for_line(
            program,
            lambda line: "ready to receive" in line,
            within_seconds=prometheus.READY_WITHIN_SECONDS,
        )
        yield Prometheus(f"http://{address}")
    finally:
        await processes.stop(program)


def adapter_rules(folder: Path) -> Path:
    """What ops/ has for the adapter's chart, as the adapter's own configuration file."""
    shipped = yaml.safe_load((OPS / "prometheus-adapter.yaml").read_text())
    path = folder / "adapter.yml"
    path.write_text(yaml.safe_dump({"externalRules": shipped["rules"]["external"]}))
    return path


def _configuration(cluster: Cluster) -> dict[str, Any]:
    """As shipped, but from outside of the cluster and for one namespace of it."""
    document: dict[str, Any] = yaml.safe_load((OPS / "scrape.yaml").read_text())
    (job,) = document["scrape_configs"]
    (pods,) = job["kubernetes_sd_configs"]
    pods["kubeconfig_file"] = outside.named("KUBECONFIG").split(":")[0]
    pods["namespaces"] = {"names": [cluster.namespace]}
    return document | {"rule_files": ["rules.yml"]}


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

"""Two pods whose agent misbehaves in rooms that are named for it, and what they count of it."""

from pathlib import Path

from tests.cluster import fleet
from tests.cluster.kubernetes import Cluster, is_ready, until

PODS = 2
DRILLS = {
    "scale": {"min": PODS},
    "agent": {
        "file": "drill.py",
        "files": {"drill.py": Path(__file__).with_name("drill_agent.py").read_text()},
    },
}


def restarts(cluster: Cluster) -> int:
    pods = cluster.pods().values()
    return sum(c["restartCount"] for pod in pods for c in pod["status"]["containerStatuses"])


async def until_started_again(cluster: Cluster) -> float:
    """Seconds until a container was started again and its pod is ready."""

    def is_whole() -> bool:
        pods = cluster.pods().values()
        return restarts(cluster) == 1 and sum(map(is_ready, pods)) == PODS

    within = fleet.READY_WITHIN_SECONDS
    return await until("the worker is back", is_whole, within_seconds=within)


def failed(cluster: Cluster, pod: str, cause: str | None = None) -> int:
    metrics = cluster.metrics(pod).items()
    wanted = f'cause="{cause}"' if cause else ""
    return int(sum(n for name, n in metrics if 'outcome="failed"' in name and wanted in name))


def resumed(cluster: Cluster) -> int:
    """How many times a call went on after its process had died."""
    pods = (cluster.metrics(name) for name in cluster.names())
    return int(sum(metrics["voicefleet_calls_resumed_total"] for metrics in pods))


def died(cluster: Cluster, cause: str) -> int:
    pods = (cluster.metrics(name) for name in cluster.names())
    name = f'voicefleet_job_deaths_total{{cause="{cause}"}}'
    return int(sum(metrics[name] for metrics in pods))

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
ENDED_WITHIN_SECONDS = 90.0


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


async def until_counted(cluster: Cluster, cause: str) -> None:
    def is_counted() -> bool:
        return sum(failed(cluster, name, cause) for name in cluster.names()) == 1

    await until(f"a call is counted as {cause}", is_counted, within_seconds=ENDED_WITHIN_SECONDS)

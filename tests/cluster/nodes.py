"""A fleet of two pods on two nodes, and which of them is where."""

import asyncio

from tests.cluster import fleet
from tests.cluster.kubernetes import Cluster, is_leaving, is_ready, run, until

PODS = 2


def nodes() -> list[str]:
    found = run("kubectl", "get", "nodes", "--output", "name").checked().split()
    return sorted(name.removeprefix("node/") for name in found)


async def one_on_each_node(cluster: Cluster) -> None:
    """An evicted pod's successor comes where there is room."""
    await until(
        "nothing drains",
        lambda: len(cluster.pods()) == PODS,
        within_seconds=fleet.GONE_WITHIN_SECONDS,
    )
    where = await asyncio.to_thread(pods_by_node, cluster)
    if len(where) == PODS:
        return
    ((node, (first, _)),) = where.items()
    run("kubectl", "cordon", node).checked()
    try:
        await cluster.tell("delete", "pod", first)
        await until_whole_without(cluster, first)
    finally:
        run("kubectl", "uncordon", node).checked()


def pods_by_node(cluster: Cluster) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pod in cluster.pods().values():
        found.setdefault(pod["spec"]["nodeName"], []).append(pod["metadata"]["name"])
    return found


def is_whole_without(cluster: Cluster, *gone: str) -> bool:
    staying = [pod for pod in cluster.pods().values() if not is_leaving(pod)]
    names = {pod["metadata"]["name"] for pod in staying if is_ready(pod)}
    return len(names - set(gone)) == PODS


async def until_whole_without(cluster: Cluster, *gone: str) -> float:
    return await until(
        "other pods are ready in their stead",
        lambda: is_whole_without(cluster, *gone),
        within_seconds=fleet.READY_WITHIN_SECONDS,
    )

"""Nodes that are drained, and pods that are evicted, with calls on: two nodes, a pod on each."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cluster import fleet, outside
from tests.cluster.callers import Callers
from tests.cluster.conftest import Record, World
from tests.cluster.kubernetes import Cluster, Done, Object, is_leaving, run
from tests.cluster.nodes import PODS, nodes, pods_by_node, until_whole_without
from tests.cluster.placing import one_in_each_pod
from tests.cluster.watching import Watch

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(500),
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def release(cluster: Cluster, world: World) -> AsyncIterator[None]:
    if len(nodes()) < 2:
        outside.missing("the cluster has no two nodes")
    async with fleet.released(
        cluster, fleet.values(world, {"scale": {"min": PODS}}), world.livekit
    ):
        yield


async def test_a_drained_node_waits_for_its_calls(
    cluster: Cluster, callers: Callers, watch: Watch, record: Record
) -> None:
    began, node = time.monotonic(), nodes()[0]
    where = pods_by_node(cluster)
    assert sorted(where) == nodes()[:2]
    calls = await one_in_each_pod(cluster, callers)
    draining = asyncio.create_task(asyncio.to_thread(drain, node))
    try:
        await until_whole_without(cluster, *where[node])
        new = await callers.ring()
        await asyncio.gather(*(call.until_answered() for call in calls.values()))
        assert not draining.done(), "the node was drained under a call"

        heard = [await call.hang_up() for call in calls.values()]
        ended = time.monotonic()
        (await asyncio.wait_for(draining, fleet.GONE_WITHIN_SECONDS)).checked()
        took = time.monotonic() - ended
        heard.append(await new.hang_up())
    finally:
        run("kubectl", "uncordon", node).checked()
    record("kubectl drain of a node", heard, f"done {took:.1f} s after the node's last call")
    assert not any(call.is_lost or call.is_refused for call in heard)
    assert min(look.ready for look in watch.looks if look.at >= began) >= PODS - 1


async def test_a_second_pod_is_not_evicted_and_an_evicted_one_goes_on_when_evicted_again(
    cluster: Cluster, callers: Callers, record: Record
) -> None:
    """The budget takes one pod at once; the next may go when the fleet is whole again."""
    calls = await one_in_each_pod(cluster, callers)
    first, second = sorted(calls)
    (await asyncio.to_thread(evict, cluster, first)).checked()
    refused = await asyncio.to_thread(evict, cluster, second)
    # Already told to leave: it is asked of no budget, and nothing changes for its call.
    (await asyncio.to_thread(evict, cluster, first)).checked()
    whole = await until_whole_without(cluster, first)
    await asyncio.gather(*(call.until_answered() for call in calls.values()))
    pods = {pod["metadata"]["name"]: pod for pod in (await pods_of(cluster))}
    heard = [await call.hang_up() for call in calls.values()]
    record(
        "eviction, twice, and of a second pod",
        heard,
        f"the budget refuses the second pod; the fleet is whole again after {whole:.1f} s",
    )
    assert is_leaving(pods[first])
    assert not is_leaving(pods[second])
    assert "disruption budget" in refused.err
    assert not any(call.is_lost for call in heard)
    await fleet.until_whole(cluster, PODS)


async def pods_of(cluster: Cluster) -> list[Object]:
    return list((await asyncio.to_thread(cluster.pods)).values())


def drain(node: str) -> Done:
    return run(
        *("kubectl", "drain", node, "--ignore-daemonsets", "--delete-emptydir-data"),
        *("--timeout", "240s"),
    )


def evict(cluster: Cluster, pod: str) -> Done:
    metadata = {"name": pod, "namespace": cluster.namespace}
    document = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/{pod}/eviction"
    return cluster.kubectl("create", "--raw", path, "-f", "-", given=json.dumps(document))

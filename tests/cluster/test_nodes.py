"""Nodes that are drained and one that is lost, with calls on: two nodes, a pod on each."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cluster import fleet, outside
from tests.cluster.callers import Callers
from tests.cluster.conftest import Record, World
from tests.cluster.kubernetes import Cluster, Done, Object, is_leaving, is_ready, run, until
from tests.cluster.placing import one_in_each_pod
from tests.cluster.watching import Watch

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(500),
    pytest.mark.asyncio(loop_scope="session"),
]

PODS = 2
# Kubernetes notices after 40 s or so, and waits for values: eviction.lostNodeSeconds.
REPLACED_WITHIN_SECONDS = 180.0
NODE_BACK_WITHIN_SECONDS = 90.0
NEW_CALLS = 8
RINGS_EVERY_SECONDS = 10.0


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


async def test_a_lost_node_costs_its_own_calls_and_what_livekit_still_offers_to_it(
    cluster: Cluster, callers: Callers, record: Record
) -> None:
    """LiveKit does not notice that a machine is gone which said no goodbye: it offers calls to its
    pods, waits 3 s, and tells nobody. What that costs today is told here.
    """
    outside.named(outside.START_NODE)
    await one_on_each_node(cluster)
    where = pods_by_node(cluster)
    node = nodes()[1]
    (gone,), (stays,) = where[node], where[nodes()[0]]
    calls = await one_in_each_pod(cluster, callers)
    began = time.monotonic()
    await asyncio.to_thread(outside.do, outside.KILL_NODE, NODE=node)
    try:
        replaced = asyncio.create_task(
            until(
                "the fleet is whole",
                lambda: is_whole_without(cluster, gone),
                within_seconds=REPLACED_WITHIN_SECONDS,
            )
        )
        refused = await ring_on(callers, began)
        whole = await replaced
        lost = await calls[gone].heard()
        kept = await (await calls[stays].until_answered()).hang_up()
    finally:
        await asyncio.to_thread(outside.do, outside.START_NODE, NODE=node)
        await until(
            "the node is back", lambda: node_is_ready(node), within_seconds=NODE_BACK_WITHIN_SECONDS
        )
    record(
        "a node lost",
        [kept],
        f"its one call is lost; whole again after {whole:.0f} s; of {NEW_CALLS} new calls,"
        f" one every {RINGS_EVERY_SECONDS:.0f} s, {len(refused)} are not answered"
        + (f", the last {refused[-1]:.0f} s after the loss" if refused else ""),
    )
    assert lost.is_lost
    assert not kept.is_lost


async def ring_on(callers: Callers, began: float) -> list[float]:
    """Short calls one after the other; when those rang that nobody took, seconds after `began`."""
    refused = []
    for number in range(NEW_CALLS):
        await asyncio.sleep(began + number * RINGS_EVERY_SECONDS - time.monotonic())
        rang = time.monotonic() - began
        call = callers.dial()
        await call.until_greeted()
        if (await call.hang_up()).is_refused:
            refused.append(rang)
    return refused


def nodes() -> list[str]:
    found = run("kubectl", "get", "nodes", "--output", "name").checked().split()
    return sorted(name.removeprefix("node/") for name in found)


def node_is_ready(name: str) -> bool:
    node = json.loads(run("kubectl", "get", "node", name, "--output", "json").checked())
    return is_ready(node)


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


async def pods_of(cluster: Cluster) -> list[Object]:
    return list((await asyncio.to_thread(cluster.pods)).values())


def pods_by_node(cluster: Cluster) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pod in cluster.pods().values():
        found.setdefault(pod["spec"]["nodeName"], []).append(pod["metadata"]["name"])
    return found


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

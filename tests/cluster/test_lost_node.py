"""A node that is lost without a goodbye, with calls on: two nodes, a pod on each."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cluster import fleet, outside
from tests.cluster.callers import Callers, ringing
from tests.cluster.conftest import Record, World
from tests.cluster.kubernetes import Cluster, is_ready, run, until
from tests.cluster.livekits import Movable
from tests.cluster.nodes import PODS, is_whole_without, nodes, one_on_each_node, pods_by_node
from tests.cluster.placing import one_in_each_pod

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(500),
    pytest.mark.asyncio(loop_scope="session"),
]

# Kubernetes notices after 40 s or so, and waits for values: eviction.lostNodeSeconds.
REPLACED_WITHIN_SECONDS = 180.0
NODE_BACK_WITHIN_SECONDS = 90.0
NEW_CALLS = 8
RINGS_EVERY_SECONDS = 10.0
CALLS_AFTERWARDS = 6


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def release(cluster: Cluster, world: World, own_livekit: Movable) -> AsyncIterator[None]:
    """At a LiveKit of its own, for which a pod is there long after it is gone."""
    if len(nodes()) < 2:
        outside.missing("the cluster has no two nodes")
    own = {"livekit": {"url": own_livekit.server.url}, "scale": {"min": PODS}}
    async with fleet.released(cluster, fleet.values(world, own), own_livekit.server):
        yield


@pytest_asyncio.fixture(loop_scope="session")
async def callers(own_livekit: Movable) -> AsyncIterator[Callers]:
    async with ringing(own_livekit.server) as found:
        yield found


async def test_a_lost_node_costs_its_own_calls_and_what_livekit_still_offers_to_it(
    cluster: Cluster, own_livekit: Movable, callers: Callers, record: Record
) -> None:
    """LiveKit does not notice that a machine is gone which said no goodbye: it offers calls to its
    pods, waits 3 s, and tells nobody (1.13.5, wsprotocol.go: it pings, and waits for no answer). So
    it goes on until TCP gives up, or LiveKit is started again. What that costs is told here.
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

    await own_livekit.kill()
    await own_livekit.start_again()
    restarted = time.monotonic()
    await (await callers.until_taken()).hang_up()
    took = time.monotonic() - restarted
    await fleet.until_whole(cluster, PODS)
    afterwards = [await (await callers.ring()).hang_up() for _ in range(CALLS_AFTERWARDS)]
    record(
        "a node lost",
        [kept, *afterwards],
        f"its one call is lost; whole again after {whole:.0f} s; of {NEW_CALLS} new calls,"
        f" one every {RINGS_EVERY_SECONDS:.0f} s, {len(refused)} are not answered"
        + (f", the last {refused[-1]:.0f} s after the loss" if refused else "")
        + f"; once LiveKit has been started again, a call is answered after {took:.0f} s, and so"
        f" are the next {CALLS_AFTERWARDS}",
    )
    assert lost.is_lost
    assert not kept.is_lost
    assert not any(call.is_refused for call in afterwards)


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


def node_is_ready(name: str) -> bool:
    node = json.loads(run("kubectl", "get", "node", name, "--output", "json").checked())
    return is_ready(node)

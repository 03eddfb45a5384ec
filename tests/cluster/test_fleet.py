"""A fleet from `helm install` to `helm uninstall`, with calls in it. The tests are one story, in
their order; each asks the cluster what became of the one before.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.cluster import fleet
from tests.cluster.conftest import World
from tests.cluster.kubernetes import Cluster, until
from worker.lab import stack

pytestmark = [
    pytest.mark.quick,
    pytest.mark.server,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="session"),
]

Tell = Callable[[str], None]
HPA = {"scale": {"by": "hpa", "min": 1, "max": 3}}


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def release(cluster: Cluster, world: World) -> AsyncIterator[float]:
    """The release, ready, and when its installation began (monotonic)."""
    async with fleet.released(cluster, fleet.values(world, HPA), world.livekit) as began:
        yield began


async def test_an_installed_fleet_answers_a_call(
    release: float, cluster: Cluster, world: World, tell: Tell
) -> None:
    took = time.monotonic() - release
    done = await fleet.call(world, 1)
    first = done.first_audio_seconds or 0.0
    tell(f"install to ready {took:.1f} s, first sound {first:.1f} s after the dispatch")
    (pod,) = cluster.pods().values()
    (decided,) = [
        line
        for line in cluster.log(pod["metadata"]["name"])
        if "slots decided" in line.get("message", "")
    ]
    tell(f"the pod decided: {decided}")
    assert decided["slots"] == 2


async def test_helm_test_calls_from_a_pod(cluster: Cluster, tell: Tell) -> None:
    began = time.monotonic()
    done = await asyncio.to_thread(cluster.helm, "test", fleet.RELEASE, "--timeout", "180s")
    log = cluster.kubectl("logs", f"{fleet.DEPLOYMENT}-call").out
    assert done.code == 0, done.err + log
    tell(f"helm test passed after {time.monotonic() - began:.1f} s")


async def test_a_call_shows_in_the_load_of_its_pod(
    cluster: Cluster, world: World, tell: Tell
) -> None:
    """By slots. What CPU and memory show is told, not asserted: with a request of a tenth of a CPU
    their parts are high before the call.
    """
    (pod,) = cluster.pods().values()
    name = pod["metadata"]["name"]
    seen: dict[str, list[float]] = {"cpu": [], "memory": [], "slots": []}
    call = asyncio.create_task(fleet.call(world, 1))
    while not call.done():
        metrics = await asyncio.to_thread(cluster.metrics, name)
        for part, values in seen.items():
            values.append(metrics[f'voicefleet_load_ratio{{part="{part}"}}'])
        await asyncio.sleep(1)
    await call
    tell(f"load by part: {seen}")
    assert max(seen["slots"]) == 0.5
    assert all(0 <= value < 1 for value in seen["memory"])


async def test_memory_counts_where_the_pod_is_near_its_limit(cluster: Cluster, tell: Tell) -> None:
    """84 % of the limit lies between 75 %, where memory begins to count, and 90 %, where it is
    full.
    """
    (pod,) = cluster.pods().values()
    name = pod["metadata"]["name"]
    filling = asyncio.create_task(
        asyncio.to_thread(cluster.kubectl, "exec", name, "--", "python", "-c", fleet.FILL)
    )
    seen = []
    while not filling.done():
        metrics = await asyncio.to_thread(cluster.metrics, name)
        seen.append(metrics['voicefleet_load_ratio{part="memory"}'])
        await asyncio.sleep(0.5)
    tell(f"cgroup, limit, held: {(await filling).checked().strip()}; memory's part: {seen}")
    assert 0.2 < max(seen) < 1
    assert set(cluster.pods()) == {pod["metadata"]["uid"]}


async def test_a_change_of_the_autoscaler_changes_no_pod(cluster: Cluster, world: World) -> None:
    before = set(cluster.pods())
    changed = fleet.values(world, HPA, {"scale": {"max": 5, "usePercent": 60}})
    fleet.apply(cluster, "upgrade", changed).checked()
    (scaler,) = cluster.get("hpa")
    assert scaler["spec"]["maxReplicas"] == 5
    await asyncio.sleep(5)
    assert set(cluster.pods()) == before
    assert len(cluster.get("replicasets")) == 1


async def test_no_object_shows_a_secret(cluster: Cluster, world: World) -> None:
    shown = cluster.kubectl("describe", "all,configmaps,events,secrets,networkpolicies").checked()
    shown += cluster.kubectl("get", "all,configmaps", "--output", "yaml").checked()
    for pod in cluster.pods().values():
        shown += cluster.kubectl("logs", pod["metadata"]["name"]).checked()
    assert world.livekit.api_secret not in shown
    assert f": {stack.KEY}\n" not in shown


async def test_an_uninstall_leaves_nothing(cluster: Cluster) -> None:
    cluster.helm("uninstall", fleet.RELEASE).checked()
    kinds = (
        "deployments,replicasets,pods,services,configmaps,serviceaccounts,networkpolicies,"
        "poddisruptionbudgets,horizontalpodautoscalers,jobs,secrets"
    )

    def remaining() -> list[str]:
        found = cluster.get(kinds)
        names = {f"{o['kind']}/{o['metadata']['name']}" for o in found}
        return sorted(names - OF_EVERY_NAMESPACE)

    await until(
        "nothing is left", lambda: remaining() == [], within_seconds=fleet.GONE_WITHIN_SECONDS
    )


OF_EVERY_NAMESPACE = {
    "ConfigMap/kube-root-ca.crt",
    "ServiceAccount/default",
    f"Secret/{fleet.SECRET}",
}

"""A fleet from `helm install` to `helm uninstall`. The tests are one story, in their order; each
asks the cluster what became of the one before.
"""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.cluster import fleet
from tests.cluster.callers import Callers
from tests.cluster.conftest import Record, World
from tests.cluster.kubernetes import Cluster, until
from voicefleet.lab import stack

pytestmark = [
    pytest.mark.quick,
    pytest.mark.server,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="session"),
]

Tell = Callable[[str], None]
HPA = {"scale": {"by": "hpa", "min": 1, "max": 3}}

# Run in a pod: whether something of this machine that the policy does not name can be reached.
REACH = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("reached")
except OSError:
    print("refused")
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def release(cluster: Cluster, world: World) -> AsyncIterator[float]:
    """The release, ready, and when its installation began (monotonic)."""
    async with fleet.released(cluster, fleet.values(world, HPA), world.livekit) as began:
        yield began


async def test_an_installed_fleet_answers_a_call(
    release: float, cluster: Cluster, world: World, record: Record
) -> None:
    took = time.monotonic() - release
    done = await fleet.call(world, 1)
    first = done.first_audio_seconds or 0.0
    record("install", seen=f"ready after {took:.1f} s, a call's first sound {first:.1f} s after it")
    (name,) = cluster.names()
    (decided,) = [line for line in cluster.log(name) if "slots decided" in line.get("message", "")]
    assert decided["slots"] == 2


async def test_helm_test_calls_from_a_pod(cluster: Cluster, record: Record) -> None:
    began = time.monotonic()
    testing = ("test", fleet.RELEASE, "--timeout", "180s", "--logs")
    done = await asyncio.to_thread(cluster.helm, *testing)
    assert done.code == 0, done.err + done.out
    assert "agent joined" in done.out
    record("helm test", seen=f"passed after {time.monotonic() - began:.1f} s")


async def test_a_pod_that_is_not_restricted_is_refused(cluster: Cluster) -> None:
    security = {"privileged": True}
    container = {"name": "any", "image": "any", "securityContext": security}
    pod = {"metadata": {"name": "any"}, "spec": {"containers": [container]}}
    document = json.dumps({"apiVersion": "v1", "kind": "Pod", **pod})
    refused = cluster.kubectl("create", "--dry-run=server", "-f", "-", given=document)
    assert refused.code != 0
    assert 'violates PodSecurity "restricted' in refused.err


async def test_a_network_policy_is_there_and_whether_anyone_enforces_it_is_told(
    cluster: Cluster, world: World, record: Record
) -> None:
    """Kubernetes takes a policy whether its network plug-in heeds it or not."""
    (policy,) = cluster.get("networkpolicies")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    (name,) = cluster.names()
    with socket.create_server((world.host, 0)) as unnamed:
        port = str(unnamed.getsockname()[1])
        named = [p["port"] for rule in policy["spec"]["egress"] for p in rule.get("ports", [])]
        assert int(port) not in named
        reached = await cluster.tell("exec", name, "--", "python", "-c", REACH, world.host, port)
    how = {"reached": "does not enforce", "refused": "enforces"}[reached.strip()]
    record("network policy", seen=f"there; this cluster's network {how} it")


async def test_a_call_shows_in_the_load_of_its_pod(
    cluster: Cluster, callers: Callers, tell: Tell
) -> None:
    """By slots. What CPU and memory show is told, not asserted: with a request of a tenth of a CPU
    their parts are high before the call.
    """
    (name,) = cluster.names()
    call = await callers.ring()
    metrics = await asyncio.to_thread(cluster.metrics, name)
    load = {part: metrics[f'voicefleet_load_ratio{{part="{part}"}}'] for part in PARTS}
    tell(f"load by part: {load}")
    assert load["slots"] == 0.5
    assert 0 <= load["memory"] < 1
    assert not (await call.hang_up()).is_lost


PARTS = ("cpu", "memory", "slots")


async def test_memory_counts_where_the_pod_is_near_its_limit(cluster: Cluster, tell: Tell) -> None:
    """84 % of the limit lies between 75 %, where memory begins to count, and 90 %, where it is
    full.
    """
    (name,) = cluster.names()
    before = set(cluster.pods())
    filling = asyncio.create_task(cluster.tell("exec", name, "--", "python", "-c", fleet.FILL))
    seen = []
    while not filling.done():
        metrics = await asyncio.to_thread(cluster.metrics, name)
        seen.append(metrics['voicefleet_load_ratio{part="memory"}'])
        await asyncio.sleep(0.5)
    tell(f"cgroup, limit, held: {(await filling).strip()}; memory's part: {seen}")
    assert 0.2 < max(seen) < 1
    assert set(cluster.pods()) == before


async def test_a_change_of_the_autoscaler_changes_no_pod(
    cluster: Cluster, world: World, callers: Callers, record: Record
) -> None:
    before = set(cluster.pods())
    call = await callers.ring()
    changed = fleet.values(world, HPA, {"scale": {"max": 5, "usePercent": 60}})
    (await asyncio.to_thread(fleet.apply, cluster, "upgrade", changed)).checked()
    (scaler,) = cluster.get("hpa")
    assert scaler["spec"]["maxReplicas"] == 5
    await call.until_answered()
    assert set(cluster.pods()) == before
    assert len(cluster.get("replicasets")) == 1
    heard = [await call.hang_up()]
    record("upgrade of the autoscaler's values", heard, "no pod changed")
    assert not any(call.is_lost for call in heard)


async def test_no_object_shows_a_secret(cluster: Cluster, world: World) -> None:
    shown = cluster.kubectl("describe", "all,configmaps,events,secrets,networkpolicies").checked()
    shown += cluster.kubectl("get", "all,configmaps", "--output", "yaml").checked()
    for name in cluster.names():
        shown += cluster.kubectl("logs", name).checked()
    assert world.livekit.api_secret not in shown
    assert f": {stack.KEY}\n" not in shown


async def test_an_uninstall_leaves_nothing(cluster: Cluster, record: Record) -> None:
    cluster.helm("uninstall", fleet.RELEASE).checked()
    kinds = (
        "deployments,replicasets,pods,services,configmaps,serviceaccounts,networkpolicies,"
        "poddisruptionbudgets,horizontalpodautoscalers,jobs,secrets"
    )

    def remaining() -> list[str]:
        found = cluster.get(kinds)
        names = {f"{o['kind']}/{o['metadata']['name']}" for o in found}
        return sorted(names - OF_EVERY_NAMESPACE)

    def is_empty() -> bool:
        left[:] = remaining()
        return not left

    left: list[str] = []
    try:
        took = await until("empty", is_empty, within_seconds=fleet.GONE_WITHIN_SECONDS)
    except AssertionError as late:
        raise AssertionError(f"there is still {left}") from late
    record("uninstall", seen=f"nothing is left after {took:.1f} s")


OF_EVERY_NAMESPACE = {
    "ConfigMap/kube-root-ca.crt",
    "ServiceAccount/default",
    f"Secret/{fleet.SECRET}",
}

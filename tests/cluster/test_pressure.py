"""What presses on calls and should end none but its own: memory to a limit, and a neighbour."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cluster import fleet
from tests.cluster.callers import Callers
from tests.cluster.conftest import IMAGE, TAG, Record, World
from tests.cluster.drills import DRILLS, PODS, died, restarts, resumed
from tests.cluster.heard import Heard
from tests.cluster.kubernetes import Cluster, until
from tests.cluster.placing import one_in_each_pod

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="session"),
]

# A caller hangs up after 3 s of silence; both cores are taken, and nobody's patience is at stake.
GREETED_WITHIN_SECONDS = 8.0

# Run in a pod: takes memory until the kernel ends somebody.
LEAK = """
import time
held = []
while True:
    held.append(b"x" * (32 * 1024**2))
    time.sleep(0.4)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def release(cluster: Cluster, world: World) -> AsyncIterator[None]:
    async with fleet.released(cluster, fleet.values(world, DRILLS), world.livekit):
        yield


async def test_a_process_that_leaks_is_ended_alone_before_the_pod_is_and_its_call_goes_on(
    cluster: Cluster, callers: Callers, record: Record
) -> None:
    others = await one_in_each_pod(cluster, callers)
    leaking = await callers.ring(room="leak")
    await until("its call goes on", lambda: resumed(cluster) == 1, within_seconds=90.0)
    calls = [leaking, *others.values()]
    kept = [await (await call.until_answered()).hang_up() for call in calls]
    record("a call leaks to its limit", kept, "its process is ended, and the call goes on")
    assert died(cluster, "memory") == 1
    assert not any(call.is_lost for call in kept)
    assert restarts(cluster) == 0


async def test_a_pod_that_something_else_fills_takes_no_call_and_is_whole_afterwards(
    cluster: Cluster, callers: Callers, record: Record
) -> None:
    """Not a call, so no limit of a call ends it: an agent's cache, or whoever is in the pod."""
    calls = await one_in_each_pod(cluster, callers)
    victim, spared = sorted(calls)
    before = restarts(cluster)
    leaking = asyncio.create_task(
        asyncio.to_thread(cluster.kubectl, "exec", victim, "--", "python", "-c", LEAK)
    )
    fullest = 0.0
    while not leaking.done():
        fullest = max(fullest, await memory_load(cluster, victim))
        await asyncio.sleep(0.5)
    assert leaking.result().code == 137, leaking.result()
    await fleet.until_whole(cluster, PODS)
    heard = await (await calls[victim].until_answered()).hang_up()
    kept = await (await calls[spared].until_answered()).hang_up()
    ended = restarts(cluster) - before
    record(
        "a pod filled to its limit",
        [kept, *([] if ended else [heard])],
        "its load is full before the kernel acts; the kernel ends "
        + ("the pod's processes, and its call" if ended else "the one that leaks alone"),
    )
    assert fullest == 1.0
    assert not kept.is_lost
    assert heard.is_lost == bool(ended)


async def test_callers_are_answered_while_a_neighbour_takes_both_cores(
    cluster: Cluster, callers: Callers, record: Record
) -> None:
    """A stock worker reports the node's CPU, is offered nothing, and the caller hears silence."""
    first = await callers.ring()
    try:
        await cluster.tell("create", "-f", "-", given=json.dumps(neighbour()))
        await cluster.tell("wait", "--for=condition=Ready", "pod/neighbour", "--timeout=60s")
        # As long as any mean of load goes back.
        await asyncio.sleep(10.0)
        for _ in range(2):
            await (await callers.dial().until_greeted()).until_answered()
        await first.until_answered()
        heard = [await call.hang_up() for call in callers.calls]
    finally:
        await cluster.tell(
            *("delete", "pod", "neighbour", "--grace-period=0", "--force", "--ignore-not-found")
        )
    record("a neighbour takes both cores", heard, first_sounds(heard[1:]))
    assert not any(call.is_lost or call.is_refused for call in heard)
    assert max(call.first_sound_seconds or 0.0 for call in heard) < GREETED_WITHIN_SECONDS


async def memory_load(cluster: Cluster, pod: str) -> float:
    """0 where the pod does not answer."""
    metrics = await asyncio.to_thread(cluster.metrics, pod)
    return metrics.get('voicefleet_load_ratio{part="memory"}', 0.0)


def first_sounds(heard: list[Heard]) -> str:
    each = ", ".join(f"{call.first_sound_seconds or 0.0:.1f} s" for call in heard)
    return f"first sounds of those who rang meanwhile: {each}"


def neighbour() -> dict[str, object]:
    """As little asked for as any batch pod that nobody thought about."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    burn = "import os\nos.fork()\nwhile True: pass"
    container = {
        "name": "neighbour",
        "image": f"{IMAGE}:{TAG}",
        "command": ["python", "-c", burn],
        "securityContext": security,
    }
    metadata = {"name": "neighbour"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [container]},
    }

"""Another image and back, with calls on: each ends in the pod that it began in."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cluster import fleet
from tests.cluster.call import Call
from tests.cluster.callers import Callers
from tests.cluster.conftest import NEXT_TAG, TAG, Record, World
from tests.cluster.kubernetes import Cluster, is_leaving, until

pytestmark = [
    pytest.mark.quick,
    pytest.mark.server,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="session"),
]

NEXT = {"image": {"tag": NEXT_TAG}}


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def release(cluster: Cluster, world: World) -> AsyncIterator[None]:
    async with fleet.released(cluster, fleet.values(world), world.livekit):
        yield


async def test_calls_are_held_through_an_upgrade_and_through_its_rollback(
    cluster: Cluster, world: World, callers: Callers, record: Record
) -> None:
    first = await the_only_pod(cluster, tag=TAG)
    early = [await callers.ring()]
    next_values = fleet.values(world, NEXT)
    (await asyncio.to_thread(fleet.apply, cluster, "upgrade", next_values)).checked()
    told = await until_told_to_leave(cluster, first)

    # The old pod drains, and the new one takes who rings now.
    late = await callers.ring()
    await asyncio.gather(*(call.until_answered() for call in early))
    left = await until_gone_after(cluster, first, *early)
    second = await the_only_pod(cluster, tag=NEXT_TAG)

    (await asyncio.to_thread(cluster.helm, "rollback", fleet.RELEASE)).checked()
    told_again = await until_told_to_leave(cluster, second)
    last = await callers.ring()
    await late.until_answered()
    left_again = await until_gone_after(cluster, second, late)
    await the_only_pod(cluster, tag=TAG)

    heard = [await call.hang_up() for call in (*early, late, last)]
    record(
        "upgrade to another image, and rollback",
        heard,
        f"the old pod is told to leave {told:.0f} s and {told_again:.0f} s after the command, and"
        f" is gone {left:.1f} s and {left_again:.1f} s after its last call",
    )
    assert not any(call.is_lost or call.is_refused for call in heard)


async def until_told_to_leave(cluster: Cluster, uid: str) -> float:
    def is_told() -> bool:
        pods = cluster.pods()
        assert uid in pods, "it left at once: no call was in it"
        return is_leaving(pods[uid])

    within = fleet.READY_WITHIN_SECONDS
    return await until("the old pod is told to leave", is_told, within_seconds=within)


async def until_gone_after(cluster: Cluster, uid: str, *calls: Call) -> float:
    """Seconds from the end of the pod's last call to its own."""
    assert uid in await asyncio.to_thread(cluster.pods)
    assert all(call.is_on for call in calls)
    for call in calls:
        await call.hang_up()
    began = time.monotonic()
    within = fleet.GONE_WITHIN_SECONDS
    await until("the pod is gone", lambda: uid not in cluster.pods(), within_seconds=within)
    return time.monotonic() - began


async def the_only_pod(cluster: Cluster, *, tag: str) -> str:
    """Its uid."""
    ((uid, pod),) = (await asyncio.to_thread(cluster.pods)).items()
    assert pod["spec"]["containers"][0]["image"].endswith(f":{tag}")
    return uid

"""LiveKit is restarted, gets other keys, and moves: with calls on, and a fleet that knows it by a
name. The tests are one story, in their order.
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cluster import fleet, livekits, outside
from tests.cluster.callers import Callers, ringing
from tests.cluster.conftest import Record, World
from tests.cluster.kubernetes import Cluster, until
from tests.cluster.livekits import Movable
from voicefleet.lab import processes

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="session"),
]

OLD = ("first-key", secrets.token_urlsafe(36))
NEW = ("second-key", secrets.token_urlsafe(36))
AWAY_SECONDS = 2.0
# What a caller would not have; what LiveKit's clients need is to be seen.
PATIENCE_SECONDS = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def livekit(
    world: World, livekit_server_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Movable]:
    """A server of its own, which takes both keys."""
    folder = tmp_path_factory.mktemp("livekit")
    started = await livekits.start(livekit_server_binary, folder, world.host, dict([OLD, NEW]))
    yield started
    await started.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def release(cluster: Cluster, world: World, livekit: Movable) -> AsyncIterator[None]:
    cluster.create(livekits.service())
    await livekits.lead_to(cluster, livekit)
    name = f"ws://{livekits.NAME}.{cluster.namespace}.svc:{livekit.port}"
    values = fleet.values(world, {"livekit": {"url": name}})
    async with fleet.released(cluster, values, livekit.server):
        yield
    await cluster.tell("delete", "service", livekits.NAME)


@pytest_asyncio.fixture(loop_scope="session")
async def callers(livekit: Movable) -> AsyncIterator[Callers]:
    async with ringing(livekit.server) as found:
        yield found


async def test_calls_survive_a_restart_of_livekit(
    cluster: Cluster, livekit: Movable, callers: Callers, record: Record
) -> None:
    (before,) = cluster.pods()
    calls = [await callers.ring(patience=PATIENCE_SECONDS) for _ in range(2)]
    await livekit.kill()
    await asyncio.sleep(AWAY_SECONDS)
    await livekit.start_again()
    await asyncio.gather(*(call.until_answered(2) for call in calls))
    heard = [await call.hang_up() for call in calls]
    began = time.monotonic()
    new = await callers.until_taken()
    took = time.monotonic() - began
    record(
        f"LiveKit killed, and back after {AWAY_SECONDS:.0f} s",
        [*heard, await new.hang_up()],
        f"a new call is answered {took:.1f} s after the old ones hung up",
    )
    assert not any(call.is_lost for call in heard)
    assert set(cluster.pods()) == {before}


async def test_calls_survive_the_rotation_of_livekits_keys(
    cluster: Cluster, livekit: Movable, callers: Callers, record: Record
) -> None:
    """New key into LiveKit, into the Secret, into new pods; the old key goes when its pods have."""
    (first,) = cluster.pods()
    old = await callers.ring()
    livekit.server = callers.livekit = livekit.with_key(*NEW)
    await cluster.tell("apply", "-f", "-", given=json.dumps(fleet.secret(livekit.server)))
    await roll(cluster)
    new = await callers.ring(patience=PATIENCE_SECONDS)
    await old.until_answered()
    heard = [await old.hang_up()]
    await until_gone(cluster, first)

    # LiveKit signs the tokens that it renews with any key it has (1.13.5, roommanager.go,
    # getFirstKeyPair), so a call could not come back from a restart that takes one of them away. It
    # is told to stop, and ends with its last call.
    livekit.tell_to_stop()
    await new.until_answered()
    heard.append(await new.hang_up())
    await until_ended(livekit)
    await livekit.start_again(keys=dict([NEW]))
    heard.append(await (await callers.until_taken()).hang_up())
    record(
        "LiveKit's keys rotated",
        heard,
        "the old key's call ends in its old pod, and the new key's before LiveKit forgets the old",
    )
    assert not any(call.is_lost or call.is_refused for call in heard)


async def test_the_fleet_follows_livekit_to_another_address(
    cluster: Cluster,
    livekit: Movable,
    callers: Callers,
    record: Record,
    tmp_path: Path,
) -> None:
    """A LiveKit that is told to stop keeps its calls and its workers until the last has ended, so
    new pods go to the new one, and old ones stay with their calls.
    """
    (first,) = cluster.pods()
    elsewhere = await livekits.start(
        *(livekit.binary, tmp_path, outside.named(outside.OTHER_ADDRESS), dict([NEW])),
        port=livekit.port,
    )
    try:
        old = await callers.ring()
        await livekits.lead_to(cluster, elsewhere)
        await until_dns_says(cluster, elsewhere)
        livekit.tell_to_stop()
        await roll(cluster)
        callers.livekit = elsewhere.server
        new = await callers.ring()
        await old.until_answered()
        heard = [await old.hang_up(), await new.hang_up()]
        await until_ended(livekit)
        await until_gone(cluster, first)

        # The name leads back, and nobody rolls anything out: the pod looks the name up again.
        await livekit.start_again()
        await livekits.lead_to(cluster, livekit)
        await elsewhere.kill()
        callers.livekit, began = livekit.server, time.monotonic()
        followed = await callers.until_taken()
        took = time.monotonic() - began
        heard.append(await followed.hang_up())
    finally:
        await elsewhere.stop()
    record(
        "LiveKit's address changed in DNS",
        heard,
        f"with a rollout no call waits; without one, a pod answers a call at the new address"
        f" {took:.0f} s after the old one died",
    )
    assert not any(call.is_lost or call.is_refused for call in heard)


async def until_ended(livekit: Movable) -> None:
    await until(
        "LiveKit has ended",
        lambda: not processes.is_alive(livekit.server.process),
        within_seconds=60,
    )


async def until_dns_says(cluster: Cluster, movable: Movable) -> None:
    """Names are cached, here and there, for some seconds."""
    (name,) = await asyncio.to_thread(cluster.names)
    ask = f"import socket; print(socket.gethostbyname('{livekits.NAME}'))"
    asking = ("exec", name, "--", "python", "-c", ask)
    await until(
        "the name leads to the new address",
        lambda: cluster.kubectl(*asking).out.strip() == movable.host,
        within_seconds=60,
    )


async def roll(cluster: Cluster) -> None:
    """New pods, and the old ones told to leave."""
    name = f"deployment/{fleet.DEPLOYMENT}"
    await cluster.tell("rollout", "restart", name)
    await cluster.tell("rollout", "status", name, "--timeout=120s")


async def until_gone(cluster: Cluster, uid: str) -> None:
    await until(
        "the pod is gone",
        lambda: uid not in cluster.pods(),
        within_seconds=fleet.GONE_WITHIN_SECONDS,
    )

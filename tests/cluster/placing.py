"""Calls where a test wants them: LiveKit draws the pod, so some callers ring in vain."""

import asyncio

from tests.cluster.call import Call
from tests.cluster.callers import Callers
from tests.cluster.kubernetes import Cluster, until

ENDED_WITHIN_SECONDS = 30.0


async def one_in_each_pod(cluster: Cluster, callers: Callers) -> dict[str, Call]:
    """A call that talks in each pod of two slots or more, by the pod's name."""
    await until("no call is on", lambda: not cluster.busy(), within_seconds=ENDED_WITHIN_SECONDS)
    placed: dict[str, Call] = {}
    spare: list[Call] = []
    names = await asyncio.to_thread(cluster.names)
    while set(placed) != set(names):
        before = await asyncio.to_thread(cluster.busy)
        call = await callers.ring()
        assert call.is_on, "nobody took a call that the case needs"
        after = await asyncio.to_thread(cluster.busy)
        (name,) = [name for name in after if after[name] > before.get(name, 0)]
        if name in placed:
            spare.append(call)
        placed.setdefault(name, call)
    for call in spare:
        await call.hang_up()
    return placed

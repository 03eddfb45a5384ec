"""The release that the tests install: its values, its Secret, and a call from this machine."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlparse

from tests.cluster.conftest import IMAGE, TAG, World
from tests.cluster.kubernetes import CHART, Cluster, Done, is_leaving, is_ready, until
from tests.deploy.rendering import Values, merged
from voicefleet.cli import report
from voicefleet.lab import caller, conversation, stack, timeline
from voicefleet.lab.caller import CallPlan
from voicefleet.lab.livekit_server import LiveKitServer
from voicefleet.lab.timeline import Timeline

RELEASE = "voices"
DEPLOYMENT = "voices-voicefleet"
SECRET = "voicefleet-keys"  # noqa: S105 - a name
READY_WITHIN_SECONDS = 150.0
GONE_WITHIN_SECONDS = 60.0
PROVIDER_KEYS = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY")

# Run in a pod: holds memory for a while, up to 84 % of the limit.
FILL = """
import sys, time
from voicefleet.pod import cgroup
source = cgroup.find()
limit = source.limits().memory_bytes
held = bytearray(max(0, int(limit * 0.84) - source.reading().memory_bytes))
held[::4096] = b"x" * len(held[::4096])
print(type(source).__name__, limit, source.reading().memory_bytes, flush=True)
time.sleep(6)
"""


def secret(livekit: LiveKitServer) -> dict[str, Any]:
    keys = dict.fromkeys(PROVIDER_KEYS, stack.KEY) | {
        "LIVEKIT_API_KEY": livekit.api_key,
        "LIVEKIT_API_SECRET": livekit.api_secret,
    }
    metadata = {"name": SECRET}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys}


def values(world: World, *more: Values) -> dict[str, Any]:
    """One small pod, and the network as it is: everything at one address. What is given more is
    laid over it.
    """
    whole = _values(world)
    for layer in more:
        whole = merged(whole, layer)
    return whole


def _values(world: World) -> dict[str, Any]:
    here = [{"ipBlock": {"cidr": f"{world.host}/32"}}]
    told = stack.provider_settings(world.providers_url)
    first = conversation.load("assistant").exchanges[0]
    return {
        "image": {"repository": IMAGE, "tag": TAG},
        "livekit": {"url": world.livekit.url},
        "secrets": {"existingSecret": SECRET},
        "settings": {name: told[name] for name in told if name.endswith("_URL")},
        "slots": 2,
        # Little enough that one call is seen in the CPU's part of the load.
        "resources": {
            "requests": {"cpu": "100m", "memory": "1536Mi"},
            "limits": {"memory": "1536Mi"},
        },
        "rollout": {"minReadySeconds": 1},
        "scale": {"min": 1},
        "networkPolicy": {
            "livekit": {"to": here, "udpPorts": ["1024-65535"]},
            "providers": {"to": here, "ports": [str(urlparse(world.providers_url).port)]},
        },
        "test": {
            "image": {"tag": f"{TAG}-demo"},
            "say": first.caller,
            "expect": first.agent,
            "timeoutSeconds": 30,
        },
    }


def apply(cluster: Cluster, verb: str, chosen: dict[str, Any], *arguments: str) -> Done:
    """`helm install` or `helm upgrade` of the release, the values by standard input."""
    return cluster.helm(
        *(verb, RELEASE, CHART, "--values", "-", *arguments), given=json.dumps(chosen)
    )


@asynccontextmanager
async def released(
    cluster: Cluster, chosen: dict[str, Any], livekit: LiveKitServer
) -> AsyncIterator[float]:
    """The release, whole, and when its installation began (monotonic)."""
    given = json.dumps(secret(livekit))
    await cluster.tell("apply", "-f", "-", given=given)
    began = time.monotonic()
    (await asyncio.to_thread(apply, cluster, "install", chosen)).checked()
    try:
        await until_whole(cluster, chosen["scale"]["min"])
        yield began
    finally:
        await asyncio.to_thread(cluster.helm, "uninstall", RELEASE, "--ignore-not-found")
        # Whoever failed in the block has read their logs; the next release wants their room.
        await cluster.tell("delete", "pods", "--all", "--grace-period=1", "--timeout=60s")


async def until_whole(cluster: Cluster, pods: int) -> float:
    """Until the fleet has so many pods that are ready and stay; seconds that it took."""

    def is_whole() -> bool:
        staying = [pod for pod in cluster.pods().values() if not is_leaving(pod)]
        return len(staying) == pods and all(map(is_ready, staying))

    return await until(f"{pods} ready pods", is_whole, within_seconds=READY_WITHIN_SECONDS)


async def call(world: World, exchanges: int) -> Timeline:
    """A caller on this machine; both sides must have understood each other."""
    whole = conversation.load("assistant")
    plan = CallPlan(
        *(world.livekit.url, world.livekit.api_key, world.livekit.api_secret, "assistant"),
        replace(whole, exchanges=whole.exchanges[:exchanges]),
    )
    done = await caller.place_call(plan)
    problem = timeline.verdict(done)
    assert problem is None, f"{problem}\n{report.conversation(done)}"
    return done

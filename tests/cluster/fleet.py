"""The release that the tests install: its values, its Secret, and a call from this machine."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlparse

from tests.cluster.conftest import IMAGE, TAG, World
from tests.cluster.kubernetes import CHART, Cluster, Done
from worker.lab import caller, conversation, stack, timeline
from worker.lab.caller import CallPlan
from worker.lab.timeline import Event, Timeline

RELEASE = "voices"
DEPLOYMENT = "voices-voicefleet"
SECRET = "voicefleet-keys"  # noqa: S105 - a name
PROVIDER_KEYS = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY")

# Run in a pod: holds memory for a while, up to 84 % of the limit.
FILL = """
import sys, time
from worker.server import cgroup
source = cgroup.find()
limit = source.limits().memory_bytes
held = bytearray(max(0, int(limit * 0.84) - source.reading().memory_bytes))
held[::4096] = b"x" * len(held[::4096])
print(type(source).__name__, limit, source.reading().memory_bytes, flush=True)
time.sleep(6)
"""


def create_secret(cluster: Cluster, world: World) -> None:
    keys = dict.fromkeys(PROVIDER_KEYS, stack.KEY) | {
        "LIVEKIT_API_KEY": world.livekit.api_key,
        "LIVEKIT_API_SECRET": world.livekit.api_secret,
    }
    metadata = {"name": SECRET}
    cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys})


def values(world: World, *, tag: str = TAG, **scale: Any) -> dict[str, Any]:
    """A small pod, an autoscaler, and the network as it is: everything at one address."""
    here = [{"ipBlock": {"cidr": f"{world.host}/32"}}]
    told = stack.provider_settings(world.providers_url)
    first = conversation.load("assistant").exchanges[0]
    return {
        "image": {"repository": IMAGE, "tag": tag},
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
        "scale": {"by": "hpa", "min": 1, "max": 3, **scale},
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


async def call(
    world: World, exchanges: int, *, times: int = 1, on_event: Callable[[Event], None] | None = None
) -> Timeline:
    """A caller on this machine; both sides must have understood each other."""
    whole = conversation.load("assistant")
    plan = CallPlan(
        *(world.livekit.url, world.livekit.api_key, world.livekit.api_secret, "assistant"),
        replace(whole, exchanges=whole.exchanges[:exchanges] * times),
    )
    done = await caller.place_call(plan, on_event=on_event)
    assert timeline.verdict(done) is None
    return done

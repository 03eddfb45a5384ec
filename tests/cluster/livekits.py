"""A LiveKit that tests may restart, move and give other keys, with a name in the cluster's DNS."""

import json
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from tests.cluster.kubernetes import Cluster
from voicefleet.lab import livekit_server, processes
from voicefleet.lab.livekit_server import LiveKitServer

NAME = "livekit"


@dataclass(slots=True)
class Movable:
    """`server` is what runs now, at its address and not by its name: callers ask no cluster."""

    binary: Path
    server: LiveKitServer

    @property
    def host(self) -> str:
        return urlparse(self.server.url).hostname or ""

    @property
    def port(self) -> int:
        return urlparse(self.server.url).port or 0

    def with_key(self, key: str, secret: str) -> LiveKitServer:
        return replace(self.server, api_key=key, api_secret=secret)

    async def start_again(self, *, keys: dict[str, str] | None = None) -> None:
        """With the same address, and other keys if given."""
        if keys is not None:
            _rewrite(self.server, keys=keys)
            ((key, secret), *_) = keys.items()
            self.server = replace(self.server, api_key=key, api_secret=secret)
        self.server = await livekit_server.start_again(self.binary, self.server)

    async def kill(self) -> None:
        await processes.kill(self.server.process)

    def tell_to_stop(self) -> None:
        """It goes on until everybody has left, and takes no new room."""
        os.kill(self.server.process.pid, signal.SIGTERM)

    async def stop(self) -> None:
        await processes.stop(self.server.process)


async def start(
    binary: Path, folder: Path, host: str, keys: dict[str, str], port: int | None = None
) -> Movable:
    """At a given port, where a name is to lead to it that led elsewhere."""
    server = await livekit_server.start(binary, folder, host)
    await processes.stop(server.process)
    if port is not None:
        _rewrite(server, port=port)
        server = replace(server, url=f"ws://{host}:{port}")
    movable = Movable(binary, server)
    await movable.start_again(keys=keys)
    return movable


def service() -> dict[str, Any]:
    """A name without an address of its own: what DNS says is where LiveKit is."""
    spec = {"clusterIP": "None", "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME}, "spec": spec}


def endpoint(host: str, port: int) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": NAME}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{NAME}-tests", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"port": port}],
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
    }


async def lead_to(cluster: Cluster, movable: Movable) -> None:
    """Let the name lead there."""
    document = json.dumps(endpoint(movable.host, movable.port))
    await cluster.tell("apply", "-f", "-", given=document)


def _rewrite(server: LiveKitServer, **changed: Any) -> None:
    path = server.process.log.parent / livekit_server.CONFIGURATION_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))

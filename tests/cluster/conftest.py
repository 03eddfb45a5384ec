"""A namespace under PodSecurity's `restricted`, and a LiveKit and providers that its pods reach."""

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cluster.kubernetes import Cluster, run
from worker.lab import livekit_server, processes, stack
from worker.lab.livekit_server import LiveKitServer

HERE = Path(__file__).parent
IMAGE, _, TAG = os.environ.get("VOICEFLEET_IMAGE", "voicefleet:0.1.0").rpartition(":")
NEXT_TAG = os.environ.get("VOICEFLEET_NEXT_TAG", f"{TAG}-next")
ADDRESS = "VOICEFLEET_HOST_ADDRESS"


@dataclass(frozen=True, slots=True)
class World:
    """What the fleet talks with, on an address of this machine."""

    host: str
    livekit: LiveKitServer
    providers_url: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("cluster")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A namespace of its own, away again with everything in it."""
    for program in ("kubectl", "helm"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} on PATH")
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster; see tests/cluster/README.md")
    name = f"voicefleet-test-{secrets.token_hex(3)}"
    modes = ("enforce", "warn", "audit")
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in modes}
    there = Cluster(name)
    metadata = {"name": name, "labels": labels}
    there.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        yield there
    finally:
        # Not to wait for pods that drain: whoever failed in here has read their logs.
        there.kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false")
        run("kubectl", "delete", "namespace", name, "--wait=true", "--timeout=90s")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(
    livekit_server_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    host = os.environ.get(ADDRESS)
    if not host:
        pytest.skip(f"{ADDRESS} names no address of this machine that pods reach")
    folder = tmp_path_factory.mktemp("world")
    livekit = await livekit_server.start(livekit_server_binary, folder, host)
    providers = processes.start(
        "providers",
        processes.python("worker.lab.providers", "--host", host, "--key", stack.KEY),
        environment=stack.clean_environment(),
        folder=folder,
    )
    try:
        line = await processes.wait_for_line(
            providers, lambda line: "http://" in line, within_seconds=stack.READY_WITHIN_SECONDS
        )
        yield World(host, livekit, "http://" + line.partition("http://")[2].split()[0])
    finally:
        await processes.stop(providers)
        await processes.stop(livekit.process)

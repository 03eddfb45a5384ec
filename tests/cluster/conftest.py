"""A namespace under PodSecurity's `restricted`, and a LiveKit and providers that its pods reach."""

import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from tests.cluster import figures, livekits, outside
from tests.cluster.callers import Callers, ringing
from tests.cluster.figures import Figures, Row
from tests.cluster.heard import Heard
from tests.cluster.kubernetes import Cluster, run
from tests.cluster.livekits import Movable
from tests.cluster.watching import Watch, watching
from voicefleet.lab import livekit_server, processes, stack
from voicefleet.lab.livekit_server import LiveKitServer

HERE = Path(__file__).parent
IMAGE, _, TAG = os.environ.get("TESTED_IMAGE", "voicefleet:0.1.0").rpartition(":")
NEXT_TAG = os.environ.get("TESTED_NEXT_TAG", f"{TAG}-next")
ADDRESS = "CLUSTER_HOST_ADDRESS"
FIGURES = pytest.StashKey[Figures]()
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class World:
    """What the fleet talks with, on an address of this machine."""

    host: str
    livekit: LiveKitServer
    providers_url: str


Record = Callable[..., None]
"""`record(case, calls, seen)`: a row of the table, with the pods since the test's begin."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("cluster")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table, and a copy of it where the environment names a folder."""
    measured = terminalreporter.config.stash.get(FIGURES, None)
    if measured is None or not measured.rows:
        return
    terminalreporter.section("measured")
    terminalreporter.write_line(f"{measured.markdown()}\n\n{measured.closing}")
    if (folder := figures.folder()) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cluster.md").write_text(f"{measured.markdown()}\n\n{measured.closing}\n")


@pytest.fixture(scope="session")
def measured(pytestconfig: pytest.Config) -> Iterator[Figures]:
    began, before = time.monotonic(), psutil.virtual_memory().used
    found = pytestconfig.stash[FIGURES] = Figures()
    yield found
    took = time.monotonic() - began
    found.closing = f"The tests took {took / 60:.1f} minutes"
    if found.most_memory_bytes:
        more = (found.most_memory_bytes - before) / MIB
        found.closing += f" and {more:.0f} MiB of memory, pods and helpers together"
    found.closing += "."


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A namespace of its own, away again with everything in it."""
    for program in ("kubectl", "helm"):
        if shutil.which(program) is None:
            outside.missing(f"there is no {program} on PATH")
    outside.named("KUBECONFIG")
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
    host = outside.named(ADDRESS)
    folder = tmp_path_factory.mktemp("world")
    livekit = await livekit_server.start(livekit_server_binary, folder, host)
    providers = processes.start(
        "providers",
        processes.python("voicefleet.lab.providers", "--host", host, "--key", stack.KEY),
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


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own_livekit(
    world: World, livekit_server_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Movable]:
    """For a module that may do to it as it likes; with the world's key."""
    folder = tmp_path_factory.mktemp("livekit")
    keys = {world.livekit.api_key: world.livekit.api_secret}
    started = await livekits.start(livekit_server_binary, folder, world.host, keys)
    yield started
    await started.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def watch(
    cluster: Cluster, measured: Figures, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Watch]:
    async with watching(tmp_path_factory.mktemp("watch"), cluster.namespace) as looking:
        yield looking
    measured.most_memory_bytes = looking.most_memory_bytes


@pytest_asyncio.fixture(loop_scope="session")
async def callers(world: World) -> AsyncIterator[Callers]:
    async with ringing(world.livekit) as found:
        yield found


@pytest.fixture
def record(watch: Watch, measured: Figures) -> Record:
    began = time.monotonic()

    def write(case: str, calls: Sequence[Heard] = (), seen: str = "") -> None:
        measured.rows.append(Row(case, calls, watch.since(began), seen))

    return write


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """What is too much for the table, at once."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}")  # noqa: T201

    return say

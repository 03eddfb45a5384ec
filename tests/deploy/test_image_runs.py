"""The built image, run as the chart's pod is: it takes a call, ends it in peace, and holds nothing
that a worker does not need. Needs Docker and the image that TESTED_IMAGE names.
"""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from tests.deploy import container as engine
from tests.deploy.container import Container
from voicefleet.lab import caller, conversation, processes, stack, timeline
from voicefleet.lab.caller import CallPlan
from voicefleet.lab.livekit_server import LiveKitServer
from voicefleet.lab.timeline import Event, EventKind

pytestmark = pytest.mark.docker

READY_WITHIN_SECONDS = 120.0

# Compilers, installers and downloaders, and the lab: with its voice, its ears and its caller.
PROGRAMS = ["cc", "gcc", "g++", "make", "ld", "pip", "pip3", "uv", "git", "curl", "wget"]
MODULES = [
    "pip",
    "setuptools",
    "uv",
    "hatchling",
    "voicefleet.lab",
    "pocketsphinx",
    "espeakng_loader",
]
TESTERS = ["pytest", "mypy", "ruff"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A worker's container, and the LiveKit that it serves."""

    livekit: LiveKitServer
    container: Container
    ready_after_seconds: float


@pytest.fixture(scope="module", autouse=True)
def image() -> None:
    engine.require_image()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    image: None, livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    providers, address = await stack.start_providers(tmp_path_factory.mktemp("lab"), "assistant")
    port = _free_port()
    settings = stack.provider_settings(address) | {
        "VOICEFLEET_HTTP_PORT": str(port),
        "VOICEFLEET_AGENT": "assistant",
        "LIVEKIT_URL": livekit_server.url,
        "LIVEKIT_API_KEY": livekit_server.api_key,
        "LIVEKIT_API_SECRET": livekit_server.api_secret,
    }
    try:
        started = engine.start(settings, port)
        try:
            yield Stage(livekit_server, started, await _ready(started))
        finally:
            engine.docker("rm", "--force", started.id)
    finally:
        await processes.stop(providers)


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="session")
async def test_a_call_that_is_on_when_the_container_is_stopped_is_held_to_its_end(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\n/readyz 200 after {stage.ready_after_seconds:.1f} s")  # noqa: T201
    whole = conversation.load("assistant")
    plan = CallPlan(
        *(stage.livekit.url, stage.livekit.api_key, stage.livekit.api_secret, "assistant"),
        replace(whole, exchanges=whole.exchanges[:2]),
    )
    talks = asyncio.Event()

    def told(event: Event) -> None:
        if event.kind is EventKind.AGENT_SPEAKS:
            talks.set()

    call = asyncio.create_task(caller.place_call(plan, on_event=told))
    await asyncio.wait_for(talks.wait(), 60)
    stopping = asyncio.create_task(
        asyncio.to_thread(engine.docker, "stop", "--time", "90", stage.container.id)
    )
    done = await call
    assert timeline.verdict(done) is None
    assert len(done.turns) == 3
    await stopping
    assert engine.exit_code(stage.container) == 0, stage.container.log()[-2000:]


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="session")
async def test_nothing_was_refused_by_the_read_only_root_or_the_missing_rights(
    stage: Stage,
) -> None:
    log = stage.container.log()
    assert "Read-only file system" not in log
    assert "Permission denied" not in log
    assert stage.livekit.api_secret not in log


def test_the_image_holds_no_lab_no_compiler_and_no_installer() -> None:
    found = engine.python(
        "import json, shutil, importlib.util as u\n"
        "def has(m):\n"
        "    try: return u.find_spec(m) is not None\n"
        "    except ModuleNotFoundError: return False\n"
        f"print(json.dumps([p for p in {PROGRAMS} if shutil.which(p)]"
        f" + [m for m in {MODULES + TESTERS} if has(m)]))"
    )
    assert found == []


def test_its_user_can_write_to_tmp_alone_and_runs_without_any_capability() -> None:
    found = engine.python(
        "import json, os, re\n"
        "status = open('/proc/self/status').read()\n"
        "caps = re.findall(r'^Cap(?:Inh|Prm|Eff|Amb):\\s*(\\w+)', status, re.M)\n"
        "paths = ['/', '/app', '/opt/voicefleet', '/opt/models', '/etc', '/tmp']\n"
        "print(json.dumps({'uid': os.getuid(), 'caps': sum(int(c, 16) for c in caps),"
        " 'writable': [p for p in paths if os.access(p, os.W_OK)]}))"
    )
    assert found == {"uid": 65532, "caps": 0, "writable": ["/tmp"]}


def test_no_secret_is_in_its_history_or_its_configuration() -> None:
    history = engine.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", engine.IMAGE)
    configuration = json.loads(engine.docker("inspect", engine.IMAGE))[0]["Config"]
    assert configuration["User"] == "65532:65532"
    assert configuration["Entrypoint"] == ["voicefleet"]
    said = (history + json.dumps(configuration["Env"])).upper()
    assert [word for word in ("API_KEY", "SECRET", "TOKEN", "PASSWORD") if word in said] == []


async def _ready(container: Container) -> float:
    while not await asyncio.to_thread(container.is_ready):
        took = time.monotonic() - container.began
        assert took < READY_WITHIN_SECONDS, container.log()[-2000:]
        await asyncio.sleep(0.1)
    return time.monotonic() - container.began


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

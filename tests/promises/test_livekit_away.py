"""What the pod does while LiveKit is away, and when it does not come back."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from livekit.protocol import room as room_protocol

from tests.promises.conftest import RunStack
from tests.promises.test_pod import exit_code_of, worker_of
from voicefleet import settings
from voicefleet.errors import ExitCode
from voicefleet.lab import processes
from voicefleet.lab.compare import outages, stage
from voicefleet.lab.compare.outcome import Subject

pytestmark = pytest.mark.server

OPERATOR = {
    "LIVEKIT_API_KEY": "key",
    "LIVEKIT_API_SECRET": "s" * 40,
    "DEEPGRAM_API_KEY": "key",
    "OPENAI_API_KEY": "key",
    "CARTESIA_API_KEY": "key",
    "VOICEFLEET_HTTP_PORT": "0",
    "VOICEFLEET_SLOTS": "1",
    "VOICEFLEET_LIVEKIT_RETRIES": "4",
}


async def test_a_livekit_that_is_gone_for_good_ends_the_pod_with_its_own_code(
    run_stack: RunStack,
) -> None:
    """A stock worker drains for up to an hour, unregistered, and then leaves with 0."""
    async with run_stack("assistant", VOICEFLEET_SLOTS="1", VOICEFLEET_LIVEKIT_RETRIES="2") as up:
        worker, livekit = worker_of(up), next(p for p in up.parts if p.name == "livekit-server")
        await processes.stop(livekit)
        assert await exit_code_of(worker) == ExitCode.LIVEKIT
        said = worker.log.read_text()
    assert f"error: LiveKit at {up.url} is gone" in said
    assert "Traceback" not in said


async def test_a_pod_that_is_told_to_stop_while_livekit_is_away_leaves_at_once(
    run_stack: RunStack,
) -> None:
    async with run_stack("assistant", VOICEFLEET_SLOTS="1") as up:
        worker, livekit = worker_of(up), next(p for p in up.parts if p.name == "livekit-server")
        await processes.stop(livekit)
        await asyncio.sleep(1.0)
        os.kill(worker.pid, signal.SIGTERM)
        assert await exit_code_of(worker) == ExitCode.OK


async def test_a_call_goes_on_over_a_restart_of_livekit_and_the_next_one_is_taken(
    livekit_server_binary: Path,
) -> None:
    """The drill of `compare`: killed in the middle of the call, and back 2 s later."""
    async with stage.world(livekit_server_binary, memory_limit_bytes=0) as world:
        outcome = await outages.restart(world, Subject.OURS)
    assert outcome.lost == 0
    assert [figure.name for figure in outcome.figures] == [
        "a new call is taken after",
        "the old one is answered again after",
    ]


@asynccontextmanager
async def livekit_that_refuses() -> AsyncIterator[tuple[str, list[float]]]:
    """Takes the key, opens the worker's socket, and closes it before the registration."""
    opened: list[float] = []

    async def list_rooms(_: web.Request) -> web.Response:
        body = room_protocol.ListRoomsResponse().SerializeToString()
        return web.Response(body=body, content_type="application/protobuf")

    async def agent(request: web.Request) -> web.WebSocketResponse:
        opened.append(asyncio.get_running_loop().time())
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_post("/twirp/livekit.RoomService/ListRooms", list_rooms)
    app.router.add_get("/agent", agent)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}", opened
    finally:
        await runner.cleanup()


@pytest.mark.usefixtures("clean_environment")
async def test_a_livekit_that_refuses_the_pod_is_asked_with_growing_pauses_then_given_up() -> None:
    """A stock worker asks it hundreds of times a second, and never ends."""
    async with livekit_that_refuses() as (url, opened):
        worker = await asyncio.create_subprocess_exec(
            *processes.python("voicefleet", "start"),
            env=settings.environment() | OPERATOR | {"LIVEKIT_URL": url},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await asyncio.wait_for(worker.communicate(), 90)
    assert worker.returncode == ExitCode.LIVEKIT
    assert "it refuses to register this pod" in said.decode()
    assert len(opened) == 5
    pauses = [later - earlier for earlier, later in itertools.pairwise(opened)]
    assert pauses[-1] > pauses[0]

"""Asking a pod's endpoints over real sockets: politely with a client, or with any bytes at all."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from voicefleet.pod.calls import CallTable
from voicefleet.pod.http import application, serving
from voicefleet.pod.phase import PodState

NOW = 1_000_000.0
QUIET_SECONDS = 0.3
PATHS = ["/startupz", "/livez", "/readyz", "/drainz"]


async def alive() -> bool:
    return True


def table(*ages_seconds: float, slots: int = 2) -> CallTable:
    """Calls that run, each for so long."""
    made = CallTable(slots, finishing_budget=1)
    for number, age in enumerate(ages_seconds):
        made.clock = lambda age=age: NOW - age  # type: ignore[misc]
        call = made.offer(f"job-{number}", "RM_1")
        assert call is not None
        made.accepted(call)
        made.started(call.job_id, pid=1000 + number)
    made.clock = lambda: NOW
    return made


def pod(*, is_warm: bool = True, is_registered: bool = True) -> PodState:
    return PodState(
        is_serving=True,
        has_been_warm=is_warm,
        is_registered=is_registered,
        clock=lambda: NOW,
    )


@asynccontextmanager
async def client_of(
    state: PodState,
    calls: CallTable | None = None,
    *,
    begin_drain: Callable[[], None] | None = None,
    inference: Callable[[], Awaitable[bool]] = alive,
    token: str | None = None,
) -> AsyncIterator[aiohttp.ClientSession]:
    app = application(
        state,
        table() if calls is None else calls,
        begin_drain or (lambda: state.begin_drain(60)),
        inference_is_alive=inference,
        drain_token=token,
    )
    async with (
        serving(app, "127.0.0.1", 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client


async def get(client: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    async with client.get(path) as response:
        return response.status, await response.text()


async def raw(client: aiohttp.ClientSession, sent: bytes) -> bytes:
    """What comes back for these bytes, until the server closes or has been quiet for a while."""
    reader, writer = await connect(client)
    received = b""
    with suppress(TimeoutError, ConnectionError):
        writer.write(sent)
        while chunk := await asyncio.wait_for(reader.read(65536), QUIET_SECONDS):
            received += chunk
    await close(writer)
    return received


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def status_of(answer: bytes) -> int | None:
    return int(answer.split(b" ", 2)[1]) if answer else None


def errors_in(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno >= logging.ERROR]


async def connect(
    client: aiohttp.ClientSession,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    assert client._base_url is not None
    return await asyncio.open_connection("127.0.0.1", client._base_url.port)

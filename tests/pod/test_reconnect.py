"""The pace at which a lost LiveKit is asked again."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from tests.waiting import wait_until
from voicefleet.backoff import Backoff
from voicefleet.pod import reconnect
from voicefleet.pod.reconnect import LONGEST_PAUSE_SECONDS, STABLE_SECONDS, PacedSession, Reconnect


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def drawn_pauses(drawn: float) -> Backoff:
    return Backoff(0.5, LONGEST_PAUSE_SECONDS, jitter_ratio=0.5, draw=lambda: drawn)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[float]:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return pauses


async def test_pauses_double_up_to_the_longest(clock: Clock, slept: list[float]) -> None:
    pace = Reconnect(most_refused=99, pauses=drawn_pauses(1.0), clock=clock)
    for _ in range(8):
        await pace.before_attempt()
    assert slept == [0.5, 1.0, 2.0, 4.0, 8.0, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]


@pytest.mark.parametrize(("drawn", "pause"), [(0.0, 0.25), (1.0, 0.5)])
async def test_half_of_a_pause_is_drawn_so_that_a_fleet_does_not_come_back_at_once(
    drawn: float, pause: float, clock: Clock, slept: list[float]
) -> None:
    pace = Reconnect(most_refused=99, pauses=drawn_pauses(drawn), clock=clock)
    for _ in range(2):
        await pace.before_attempt()
    assert slept == [pause]


async def test_after_a_connection_that_held_the_first_attempt_comes_at_once(
    clock: Clock, slept: list[float]
) -> None:
    pace = Reconnect(most_refused=99, clock=clock)
    for _ in range(4):
        await pace.before_attempt()
    pace.registered()
    clock.now += STABLE_SECONDS + 1.0
    slept.clear()
    await pace.before_attempt()
    assert slept == []


async def test_a_livekit_that_takes_the_pod_and_drops_it_is_not_asked_faster_and_faster(
    clock: Clock, slept: list[float]
) -> None:
    pace = Reconnect(most_refused=2, pauses=drawn_pauses(1.0), clock=clock)
    for _ in range(8):
        await pace.before_attempt()
        pace.registered()
    assert slept[-1] == LONGEST_PAUSE_SECONDS
    assert not pace.given_up.is_set()


async def test_a_livekit_that_never_takes_the_pod_is_given_up(
    clock: Clock, slept: list[float]
) -> None:
    """A stock worker asks it hundreds of times a second, for ever."""
    opened = []

    class Session:
        closed = False

        async def ws_connect(self, url: str, *, heartbeat: float) -> None:
            opened.append((url, heartbeat))

    pace = Reconnect(most_refused=2, clock=clock)
    session = PacedSession(Session(), pace)  # type: ignore[arg-type]

    async def ask_for_ever() -> None:
        while True:
            await session.ws_connect("ws://livekit/agent", heartbeat=30.0)

    asking = asyncio.create_task(ask_for_ever())
    async with asyncio.timeout(5):
        await pace.given_up.wait()
    asking.cancel()
    assert opened == [("ws://livekit/agent", 30.0)] * 3
    assert session.closed is False


@pytest.fixture
async def mute(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The address of a LiveKit that opens the socket, answers pings, and says nothing."""
    monkeypatch.setattr(reconnect, "REGISTERED_WITHIN_SECONDS", 0.2)

    async def answer(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.router.add_get("/agent", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"ws://127.0.0.1:{runner.addresses[0][1]}/agent"
    await runner.cleanup()


async def test_a_livekit_that_never_answers_the_registration_is_left(mute: str) -> None:
    """Nothing but the startup probe ended this wait, and after a reconnect not even that."""
    pace = Reconnect(most_refused=99)
    async with aiohttp.ClientSession() as session:
        socket = await PacedSession(session, pace).ws_connect(mute)
        with pytest.raises(TypeError):
            await asyncio.wait_for(socket.receive_bytes(), 10)
        await wait_until(lambda: socket.closed, because="the pod hangs up")
    assert not pace.is_connected


async def test_a_livekit_that_has_taken_the_pod_may_be_silent(mute: str) -> None:
    pace = Reconnect(most_refused=99)
    async with aiohttp.ClientSession() as session:
        socket = await PacedSession(session, pace).ws_connect(mute)
        pace.registered()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.receive_bytes(), 1.0)
        await socket.close()

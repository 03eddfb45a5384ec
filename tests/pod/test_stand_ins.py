"""The stand-ins themselves, against LiveKit's own worker without anything of ours."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from livekit import api
from livekit.agents import AgentServer, JobContext, JobRequest
from livekit.protocol import agent

from tests.pod.livekit_stand_in import Illness, LiveKitStandIn
from tests.pod.pool_stand_in import PoolStandIn


async def entrypoint(_: JobContext) -> None:
    """Never runs: there is no process."""


async def accept(request: JobRequest) -> None:
    await request.accept(name="Ada", metadata="m", attributes={"desk": "3"})


def server_for(livekit: LiveKitStandIn) -> AgentServer:
    server = AgentServer(
        ws_url=livekit.url,
        api_key=livekit.api_key,
        api_secret=livekit.api_secret,
        host="127.0.0.1",
        port=0,
        num_idle_processes=2,
        load_fnc=lambda: 0.25,
    )
    server.rtc_session(entrypoint, agent_name="desk", on_request=accept)
    return server


@asynccontextmanager
async def worker(livekit: LiveKitStandIn) -> AsyncIterator[AgentServer]:
    """A stock worker, closed with its jobs."""
    server = server_for(livekit)
    running = asyncio.create_task(server.run(), name="stock worker")
    try:
        yield server
    finally:
        await server.aclose()
        await running


@pytest.fixture(autouse=True)
def environment_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker leaves its address and key in the environment."""
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.setenv(name, "before")
    monkeypatch.setenv("LIVEKIT_AGENT_DEPLOYMENT", "blue")


async def test_a_worker_registers_and_reports(livekit: LiveKitStandIn, pool: PoolStandIn) -> None:
    async with worker(livekit):
        registered = await livekit.registered()
        assert (registered.agent_name, registered.registration.deployment) == ("desk", "blue")
        assert registered.registration.type == agent.JT_ROOM
        assert registered.permissions.can_publish
        await livekit.until(lambda: bool(registered.statuses), because="it reports its load")
        assert (registered.is_full, registered.job_count) == (False, 0)
        assert len(pool.warm) == 2
    assert pool.alive == []


async def test_a_job_is_offered_taken_assigned_and_given_to_a_process(
    livekit: LiveKitStandIn, pool: PoolStandIn
) -> None:
    async with worker(livekit):
        await livekit.registered()
        offer = await livekit.offer(room="lobby", metadata="order 7")
        answer = await offer.answer()
        assert (answer.available, answer.participant_name) == (True, "Ada")
        assert answer.participant_attributes["desk"] == "3"
        await offer.assign()
        job = await pool.job_of(offer.job.id)
        assert job.running_job is not None
        assert (job.running_job.job.room.name, job.running_job.job.metadata) == ("lobby", "order 7")
        grants = api.TokenVerifier(livekit.api_key, livekit.api_secret).verify(
            job.running_job.token
        )
        assert (grants.identity, grants.kind) == (answer.participant_identity, "agent")
        await livekit.until(
            lambda: livekit.status_of(offer.job.id) == agent.JS_RUNNING,
            because="the job runs",
        )
        job.ended()
        await livekit.until(
            lambda: livekit.status_of(offer.job.id) == agent.JS_SUCCESS,
            because="the job has ended well",
        )
        assert len(offer.answers) == 1


async def test_a_process_that_dies_fails_its_job(
    livekit: LiveKitStandIn, pool: PoolStandIn
) -> None:
    pool.has_real_pids = True
    async with worker(livekit):
        await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        assert job.pid is not None
        os.kill(job.pid, signal.SIGKILL)
        await livekit.until(
            lambda: livekit.status_of(str(job.job_id)) == agent.JS_FAILED,
            because="the job has failed",
        )
        assert not job.is_alive


async def test_a_job_that_livekit_terminates_is_closed(
    livekit: LiveKitStandIn, pool: PoolStandIn
) -> None:
    async with worker(livekit):
        await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        await livekit.terminate(str(job.job_id))
        await pool.until(lambda: job.exitcode == 0, because="the process leaves")


async def test_a_worker_that_drains_reports_full_and_waits_for_its_job(
    livekit: LiveKitStandIn, pool: PoolStandIn
) -> None:
    async with worker(livekit) as server:
        registered = await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        draining = asyncio.create_task(server.drain())
        await livekit.until(lambda: registered.is_full, because="it reports full")
        assert not draining.done()
        job.ended()
        await draining


async def test_a_process_that_fails_to_load_is_replaced(
    livekit: LiveKitStandIn, pool: PoolStandIn
) -> None:
    pool.is_prewarm_held = True
    async with worker(livekit):
        await pool.until(lambda: len(pool.alive) == 2, because="two processes load")
        first, second = pool.jobs
        first.fails_prewarm("no weights")
        second.becomes_warm()
        await pool.until(lambda: len(pool.jobs) == 3, because="another one loads")
        assert (first.exitcode, len(pool.warm)) == (1, 1)
        pool.jobs[2].becomes_warm()
        await livekit.registered()


@pytest.mark.parametrize(
    "illness", [Illness.REFUSES_WITH_503, Illness.REFUSES_WITH_401, Illness.CLOSES_AT_ONCE]
)
async def test_a_worker_comes_back_to_a_livekit_that_was_ill(
    livekit: LiveKitStandIn, pool: PoolStandIn, illness: Illness
) -> None:
    livekit.illness = illness
    async with worker(livekit):
        await livekit.until(lambda: bool(livekit.asked_at), because="it asks once")
        assert livekit.workers == []
        livekit.illness = None
        await livekit.registered()


@pytest.mark.parametrize("illness", [Illness.HANGS, Illness.NEVER_REGISTERS])
async def test_a_stock_worker_waits_for_a_livekit_that_does_not_answer(
    livekit: LiveKitStandIn, pool: PoolStandIn, illness: Illness
) -> None:
    livekit.illness = illness
    async with worker(livekit):
        await livekit.until(lambda: bool(livekit.asked_at), because="it asks once")
        livekit.illness = None
        livekit.drop_connections()
        await livekit.registered()


async def test_a_worker_whose_connection_breaks_registers_anew_and_brings_its_jobs(
    livekit: LiveKitStandIn, pool: PoolStandIn
) -> None:
    async with worker(livekit):
        await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        livekit.drop_connections()
        second = await livekit.registered(times=2)
        await livekit.until(lambda: bool(livekit.job_reports), because="it reports its jobs")
        assert livekit.job_reports == [[job.job_id]]
        assert [w.is_connected for w in livekit.workers] == [False, second.is_connected]
        job.ended()


async def test_a_livekit_that_went_away_comes_back_at_the_same_address(
    livekit: LiveKitStandIn, pool: PoolStandIn
) -> None:
    async with worker(livekit):
        await livekit.registered()
        url = livekit.url
        await livekit.go_away()
        await livekit.come_back()
        assert livekit.url == url
        await livekit.registered(times=2)


async def test_the_room_service_answers_to_the_key_alone(livekit: LiveKitStandIn) -> None:
    key, secret = livekit.api_key, livekit.api_secret
    async with api.LiveKitAPI(livekit.url, key, secret) as client:
        rooms = await client.room.list_rooms(api.ListRoomsRequest())
        await client.room.delete_room(api.DeleteRoomRequest(room="lobby"))
        who = api.RoomParticipantIdentity(room="lobby", identity="ada")
        await client.room.remove_participant(who)
    assert list(rooms.rooms) == []
    assert livekit.deleted_rooms == ["lobby"]
    assert livekit.removed_participants == [("lobby", "ada")]
    async with api.LiveKitAPI(livekit.url, key, secret.upper()) as client:
        with pytest.raises(api.TwirpError, match="401"):
            await client.room.list_rooms(api.ListRoomsRequest())


async def test_what_does_not_become_so_fails_with_the_reason(livekit: LiveKitStandIn) -> None:
    with pytest.raises(AssertionError, match="pigs fly"):
        await livekit.until(lambda: False, because="pigs fly", within_seconds=0.05)

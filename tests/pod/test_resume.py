"""A call outlives its job: another process of the pod goes on with it."""

import asyncio
from pathlib import Path

import pytest

from tests.pod.livekit_stand_in import LiveKitStandIn
from tests.pod.pods import RunningPod, running_pod
from tests.pod.pool_stand_in import JobStandIn, PoolStandIn
from tests.waiting import wait_until
from voicefleet.settings.livekit import LiveKit
from voicefleet.telemetry.messages import Cause, Kept, Resume, Resumed, SessionsOpen

ITEM = Kept(kind="item", key="one", data='{"id": "one"}')


async def is_over(pod: RunningPod, outcome: str, cause: str) -> None:
    async def is_counted() -> bool:
        return await pod.metric("voicefleet_calls_total", outcome=outcome, cause=cause) == 1

    await wait_until(is_counted, because=f"one call is {outcome}, {cause}")


async def resumed(pool: PoolStandIn, job_id: str) -> JobStandIn:
    job = await pool.job_of(job_id)
    await pool.until(
        lambda: any(isinstance(order, Resume) for order in job.orders), because="it may go on"
    )
    return job


async def a_death_ends_the_call(
    livekit: LiveKitStandIn, pool: PoolStandIn, pod: RunningPod
) -> None:
    await pod.becomes_ready()
    (await pool.job_of(await livekit.place_call())).dies()
    await is_over(pod, "failed", "crashed")
    assert await pod.metric("voicefleet_calls_not_resumed_total", reason="off") == 1


async def test_a_call_goes_on_with_what_was_said_when_its_job_dies(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        await pod.becomes_ready()
        job_id = await livekit.place_call()
        job = await pool.job_of(job_id)
        job.tell(ITEM)
        job.dies()
        second = await resumed(pool, f"{job_id}.r2")
        assert [order for order in second.orders if isinstance(order, Kept)] == [ITEM]
        assert (await pod.drainz())["calls_by_state"]["running"] == 1
        second.tell(Resumed(seconds=0.4))
        second.ended()
        await is_over(pod, "completed", "caller_left")
        assert await pod.metric("voicefleet_calls_resumed_total") == 1
        assert await pod.metric("voicefleet_job_deaths_total", cause="crashed") == 1


async def test_a_call_goes_on_whose_job_died_before_its_first_word(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        await pod.becomes_ready()
        await pool.until(lambda: len(pool.warm) == 2, because="two processes wait")
        with monkeypatch.context() as silent:
            silent.setattr(JobStandIn, "tell", lambda *_: None)
            job_id = await livekit.place_call()
            job = await pool.job_of(job_id)
        job.dies()
        second = await resumed(pool, f"{job_id}.r2")
        assert not any(isinstance(order, Kept) for order in second.orders)
        second.ended()
        await is_over(pod, "completed", "caller_left")


async def test_a_drain_does_not_stop_a_call_from_going_on(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        await pod.becomes_ready()
        job_id = await livekit.place_call()
        job = await pool.job_of(job_id)
        await pod.drain()
        job.dies()
        second = await resumed(pool, f"{job_id}.r2")
        assert (await pod.drainz())["calls"] == 1
        assert not pod.life.done()
        second.ended()
        await pod.left()


async def test_a_call_that_takes_its_jobs_along_ends_with_a_farewell(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        await pod.becomes_ready()
        job_id = await livekit.place_call()
        (await pool.job_of(job_id)).dies()
        for generation in (2, 3):
            job = await resumed(pool, f"{job_id}.r{generation}")
            assert [o.is_last for o in job.orders if isinstance(o, Resume)] == [False]
            job.dies()
        last = await resumed(pool, f"{job_id}.r4")
        assert [o.is_last for o in last.orders if isinstance(o, Resume)] == [True]
        last.ended(Cause.AGENT_LEFT)
        await is_over(pod, "failed", "crashed")
        await pod.has_calls(0)


async def test_a_call_is_resumed_once_for_its_memory(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        await pod.becomes_ready()
        job_id = await livekit.place_call()
        (await pool.job_of(job_id)).is_killed("process exceeded memory limit, killing it")
        second = await resumed(pool, f"{job_id}.r2")
        second.is_killed("process exceeded memory limit, killing it")
        last = await resumed(pool, f"{job_id}.r3")
        last.dies()
        await is_over(pod, "failed", "memory")


async def test_where_it_is_off_a_death_ends_the_call(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_RESUME="0") as pod:
        await a_death_ends_the_call(livekit, pool, pod)


async def test_at_livekit_cloud_a_death_ends_the_call(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiveKit Cloud restarts the job itself."""
    monkeypatch.setattr(LiveKit, "is_cloud", True)
    async with running_pod(livekit, pool, tmp_path) as pod:
        await a_death_ends_the_call(livekit, pool, pod)


async def test_a_job_whose_loop_stands_still_is_replaced(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(
        livekit, pool, tmp_path, VOICEFLEET_CALL_UNRESPONSIVE_SECONDS="2"
    ) as pod:
        await pod.becomes_ready()
        job_id = await livekit.place_call()
        job = await pool.job_of(job_id)
        # Until its first session it may load what takes long.
        await asyncio.sleep(3.0)
        assert await pod.metric("voicefleet_job_deaths_total") == 0
        job.tell(SessionsOpen(count=1))
        await resumed(pool, f"{job_id}.r2")
        assert await pod.metric("voicefleet_job_deaths_total", cause="unresponsive") == 1


async def test_a_job_that_dies_in_its_end_is_not_brought_back(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """The agent has left, and its file writes up the call."""
    async with running_pod(livekit, pool, tmp_path) as pod:
        await pod.becomes_ready()
        job = await pool.job_of(await livekit.place_call())
        job.caller_left()
        job.dies()
        await is_over(pod, "failed", "crashed")
        assert await pod.metric("voicefleet_job_deaths_total") == 0


async def test_a_farewell_that_dies_is_not_said_again(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_RESUME_MOST_A_MINUTE="1") as pod:
        await pod.becomes_ready()
        job_id = await livekit.place_call()
        (await pool.job_of(job_id)).dies()
        for generation in (2, 3):
            (await resumed(pool, f"{job_id}.r{generation}")).dies()
        await is_over(pod, "failed", "crashed")
        assert await pod.metric("voicefleet_calls_not_resumed_total") == 1

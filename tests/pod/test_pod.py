"""What a pod does where it cannot start, is in development, or is told more than it may take; the
life of one that is well is in `test_life`.
"""

import logging
import re
import signal
import socket
from pathlib import Path

import pytest
from livekit.agents import AgentServer

from tests.pod.livekit_stand_in import LiveKitStandIn
from tests.pod.pods import in_development, running_pod
from tests.pod.pool_stand_in import PoolStandIn
from tests.waiting import wait_until
from voicefleet.errors import PortError
from voicefleet.pod.job_processes import JobProcesses
from voicefleet.settings.pod import FAREWELL_WITHIN_SECONDS
from voicefleet.telemetry.messages import Cause

GIB = 1024**3


async def test_a_port_that_another_has_ends_the_start_with_its_name_and_a_fix(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        pod = running_pod(
            livekit, pool, tmp_path, VOICEFLEET_HTTP_PORT=port, VOICEFLEET_HTTP_HOST="127.0.0.1"
        )
        with pytest.raises(PortError, match=re.escape(f"127.0.0.1:{port}")) as caught:
            await pod.__aenter__()
    assert "VOICEFLEET_HTTP_PORT" in (caught.value.fix or "")
    assert (livekit.workers, pool.jobs) == ([], [])


async def test_a_pod_whose_models_never_load_leaves_when_it_is_told_to_stop(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """LiveKit's worker is still at its start then, and a start cannot be drained."""
    pool.prewarm_error = "no weights"
    async with running_pod(livekit, pool, tmp_path) as pod:

        async def has_failed() -> bool:
            return await pod.metric("voicefleet_prewarm_failures_total") >= 1

        await wait_until(has_failed, because="the pod hears of the failure")
        await pod.drain()
        await pod.left()
    assert (livekit.workers, pool.alive) == ([], [])


async def test_an_error_of_livekits_worker_that_is_no_lost_connection_is_raised_as_it_is(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(server: AgentServer, *, devmode: bool) -> None:
        server._close_future = None
        raise RuntimeError("the pool is broken")

    monkeypatch.setattr(AgentServer, "run", broken)
    async with running_pod(livekit, pool, tmp_path) as pod:
        with pytest.raises(RuntimeError, match="the pool is broken"):
            await pod.left()


async def test_in_development_calls_end_at_once_when_it_is_told_to_stop(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    with in_development():
        async with running_pod(livekit, pool, tmp_path) as pod:
            await pod.becomes_ready()
            job = await pool.job_of(await livekit.place_call())
            await pod.has_calls(1)
            signal.raise_signal(signal.SIGINT)
            await pod.left(within_seconds=2.0)
    assert not job.is_alive
    assert not job.was_ordered_to_end()


async def test_a_pod_that_has_left_is_ended_by_signals_as_any_process(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """It answers to the first SIGTERM alone; once it has left, nobody would answer any."""
    async with running_pod(livekit, pool, tmp_path):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


async def test_each_time_that_livekit_takes_the_pod_again_is_counted(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        await livekit.registered()
        assert await pod.metric("voicefleet_livekit_reconnects_total") == 0
        livekit.drop_connections()
        await livekit.registered(times=2)

        async def is_counted() -> bool:
            return await pod.metric("voicefleet_livekit_reconnects_total") == 1

        await wait_until(is_counted, because="the pod counts it")


async def test_the_end_of_a_drain_waits_for_the_files_own_end_after_the_farewell(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both times are given to a call that is ended at the deadline."""
    given = list[tuple[Cause, float]]()
    end_calls = JobProcesses.end_calls

    async def noted(processes: JobProcesses, cause: Cause, within_seconds: float) -> None:
        given.append((cause, within_seconds))
        await end_calls(processes, cause, within_seconds)

    monkeypatch.setattr(JobProcesses, "end_calls", noted)
    async with running_pod(
        livekit,
        pool,
        tmp_path,
        VOICEFLEET_DRAIN_TIMEOUT_SECONDS="1",
        VOICEFLEET_SESSION_END_TIMEOUT_SECONDS="77",
    ) as pod:
        await livekit.registered()
        await pool.job_of(await livekit.place_call())
        await pod.has_calls(1)
        await pod.drain()
        await pod.left()
    assert given == [(Cause.DRAINED, FAREWELL_WITHIN_SECONDS + 77)]


@pytest.mark.parametrize(("memory", "is_told"), [(3 * GIB, False), (GIB // 2, True)])
async def test_calls_that_cannot_have_a_memory_limit_of_their_own_are_told_of_with_a_fix(
    livekit: LiveKitStandIn,
    pool: PoolStandIn,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    memory: int,
    is_told: bool,
) -> None:
    """One call that leaks may then end them all, and nobody knew before it did."""
    caplog.set_level(logging.INFO)
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_MEMORY_LIMIT_BYTES=str(memory)):
        pass
    warned = [r for r in caplog.records if "has no memory limit of its own" in str(r.msg)]
    assert bool(warned) is is_told
    for record in warned:
        assert record.__dict__["pod_bytes"] == memory
        assert "VOICEFLEET_SLOTS" in record.__dict__["fix"]

"""What a pod does where it cannot start, is in development, or is told more than it may take; the
life of one that is well is in `test_life`.
"""

import asyncio
import logging
import re
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import AgentServer, JobExecutorType, JobProcess

from tests.pod.livekit_stand_in import LiveKitStandIn
from tests.pod.pods import in_development, running_pod
from tests.pod.pool_stand_in import JobStandIn, PoolStandIn
from tests.waiting import wait_until
from voicefleet import settings as settings_module
from voicefleet.errors import LiveKitError, PortError
from voicefleet.job import agent_file, prewarm
from voicefleet.livekit_compat import server as livekit_server
from voicefleet.pod import pod as pod_module
from voicefleet.pod.job_processes import JobProcesses
from voicefleet.pod.load import LEAST_LOAD_RATIO
from voicefleet.pod.phase import Phase, PodState
from voicefleet.settings.pod import FAREWELL_WITHIN_SECONDS
from voicefleet.telemetry.messages import Cause

GIB = 1024**3

WITH_EVERYTHING = """
from livekit.agents import AgentServer, JobContext, JobProcess

server = AgentServer()

def set_up(process: JobProcess) -> None:
    process.userdata["set up"] = process.userdata.get("set up", 0) + 1

server.setup_fnc = set_up

async def at_the_end(ctx: JobContext) -> None: ...

@server.rtc_session(agent_name="desk", on_session_end=at_the_end)
async def entrypoint(ctx: JobContext) -> None: ...
"""


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
    assert livekit.workers == []
    # With the pod its process ends, and LiveKit's pool, which goes on to start processes.
    for task in asyncio.all_tasks():
        if "ProcPool._main_task" in repr(task):
            task.cancel()
            await asyncio.wait({task})


async def test_an_error_of_livekits_worker_that_is_no_lost_connection_is_raised_as_it_is(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(server: AgentServer, *, devmode: bool) -> None:
        server._close_future = None
        raise RuntimeError("the pool is broken")

    monkeypatch.setattr(AgentServer, "run", broken)
    with pytest.raises(RuntimeError, match="the pool is broken"):
        async with running_pod(livekit, pool, tmp_path) as pod:
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


async def test_a_file_that_is_hosted_and_run_in_one_process_finds_what_it_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None
) -> None:
    """In LiveKit's console, where jobs are threads, the file is read again after the pod has put
    its own in: its setup was the pod's, which called itself without end, and so was the rest.
    """
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "one_process.py").write_text(WITH_EVERYTHING)
    monkeypatch.setenv("VOICEFLEET_AGENT", "one_process.py")
    settings = settings_module.load()
    server = pod_module.build(settings, agent_file.load(settings.agent.file)).server
    process = JobProcess(executor_type=JobExecutorType.THREAD, user_arguments=None, http_proxy=None)
    assert server.setup_fnc is not None
    server.setup_fnc(process)
    hosted = process.userdata[prewarm.AGENT_FILE]
    names = [getattr(hosted, name).__name__ for name in ("entrypoint", "on_session_end", "setup")]
    assert names == ["entrypoint", "at_the_end", "set_up"]
    assert process.userdata["set up"] == 1


async def test_a_pod_says_once_that_it_is_ready_and_how_to_call_it(
    livekit: LiveKitStandIn,
    pool: PoolStandIn,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As in the image: a shell finds the command.
    monkeypatch.setattr("voicefleet.command.shutil.which", lambda _: "/usr/bin/voicefleet")
    async with running_pod(livekit, pool, tmp_path) as pod:
        await pod.becomes_ready()
        livekit.drop_connections()
        await livekit.registered(times=2)
    (said,) = [vars(r) for r in caplog.records if r.msg == "ready for calls"]
    assert said["to_call_it"] == f"voicefleet call {said['agent_name']} --say Hello."


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


async def test_a_call_whose_process_never_speaks_of_it_is_seen_by_livekits_pool_alone(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that died between the assignment and its first word kept its slot for good."""
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_RESUME="0") as pod:
        await pod.becomes_ready()
        await pool.until(lambda: len(pool.warm) == 2, because="two processes wait")
        monkeypatch.setattr(JobStandIn, "tell", lambda *_: None)
        job = await pool.job_of(await livekit.place_call())

        async def is_running() -> bool:
            return bool((await pod.drainz())["calls_by_state"]["running"] == 1)

        await wait_until(is_running, because="LiveKit has given it to a process")
        job.dies()
        await pod.has_calls(0)
        died = {"outcome": "failed", "cause": "crashed"}
        await pod.has_counted(1, **died)


async def test_each_call_may_be_weighed_on_a_thread_of_the_loop_while_an_offer_is_answered(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """On two cores there were six threads: as many weighings that hung delayed every answer."""
    slots = 20
    at_once = threading.Barrier(2 * slots)
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_SLOTS=str(slots)) as pod:
        await pod.becomes_ready()
        waiting = (asyncio.to_thread(at_once.wait, 10) for _ in range(2 * slots))
        await asyncio.gather(*waiting)
    assert not at_once.broken


async def test_a_call_that_finishes_is_a_small_load_beside_a_free_slot(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """At a load of 0 LiveKit keeps the number of warm processes that it had while the pod was full:
    "no warmed process available" four times in a minute.
    """
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_SLOTS="1") as pod:
        worker = await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        await livekit.until(lambda: worker.load == pytest.approx(0.7), because="it is full")
        job.caller_left()
        small = pytest.approx(0.7 * LEAST_LOAD_RATIO)
        await livekit.until(lambda: worker.load == small, because="it tells a small load")
        job.ended()
        await pod.has_calls(0)
        await livekit.until(lambda: worker.load == 0, because="nothing is left of the call")


async def test_a_drain_waits_for_the_last_words_of_a_process_that_livekit_has_seen_end(
    livekit: LiveKitStandIn,
    pool: PoolStandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The call was in no report and in no metric: the pod had left before it read how it ended."""
    caplog.set_level(logging.INFO)

    async def slowly(_: AgentServer) -> None:
        await asyncio.sleep(0.3)

    monkeypatch.setattr(livekit_server, "report_load_now", slowly)
    async with running_pod(livekit, pool, tmp_path) as pod:
        await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        await pod.has_calls(1)
        await pod.drain()
        job.ended(Cause.AGENT_LEFT)
        await pod.left()
    over = [r.__dict__["cause"] for r in caplog.records if r.msg == "call over"]
    assert over == ["agent_left"]


@pytest.mark.parametrize("is_let_in", [True, False])
async def test_a_pod_that_has_left_is_stopped_however_it_ended(
    livekit: LiveKitStandIn,
    pool: PoolStandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_let_in: bool,
) -> None:
    states = list[PodState]()

    def state(**given: Any) -> PodState:
        states.append(PodState(**given))
        return states[-1]

    monkeypatch.setattr(pod_module, "PodState", state)
    secret = livekit.api_secret if is_let_in else "wrong" * 10
    async with running_pod(livekit, pool, tmp_path, LIVEKIT_API_SECRET=secret) as pod:
        if is_let_in:
            await pod.becomes_ready()
            assert states[0].phase is Phase.READY
            await pod.drain()
            await pod.left()
        else:
            with pytest.raises(LiveKitError):
                await pod.left()
    assert states[0].phase is Phase.STOPPED


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


@pytest.mark.parametrize(("video", "per_cpu"), [("false", 4), ("true", 2)])
async def test_a_pod_whose_callers_show_video_plans_with_fewer_calls_for_each_cpu(
    livekit: LiveKitStandIn,
    pool: PoolStandIn,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    video: str,
    per_cpu: int,
) -> None:
    caplog.set_level(logging.INFO)
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_VIDEO=video):
        pass
    (decided,) = [r for r in caplog.records if r.msg == "slots decided"]
    assert f"{per_cpu} for each of" in decided.__dict__["reason"]

"""LiveKit's job processes, real ones: why they end, and what is told of it."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import AgentServer, JobContext
from livekit.agents.ipc.job_proc_executor import ProcJobExecutor
from livekit.agents.job import JobAcceptArguments, RunningJobInfo
from livekit.protocol import agent, models

from tests.livekit_compat import job_process
from tests.livekit_compat.contract import expect, expected_to_work
from tests.livekit_compat.test_server import HOOKS, OPTIONS, running
from tests.waiting import wait_until
from voicefleet.livekit_compat import server as livekit_server
from voicefleet.livekit_compat import session
from voicefleet.livekit_compat.kill_reasons import KillReason, KillReasons

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]

Entrypoint = Callable[[JobContext], Awaitable[None]]

JOB = RunningJobInfo(
    accept_arguments=JobAcceptArguments(identity="agent", name="", metadata=""),
    job=agent.Job(id="AJ_1", room=models.Room(sid="RM_1", name="room")),
    url="",
    token="",
    worker_id="",
    fake_job=False,
)


@asynccontextmanager
async def process(
    folder: Path, entrypoint: Entrypoint = job_process.stays, **options: Any
) -> AsyncIterator[ProcJobExecutor]:
    """A started process; `options` are those of LiveKit's executor."""
    chosen = {
        "initialize_timeout": 60,
        "close_timeout": 20,
        "session_end_timeout": 1,
        "memory_warn_mb": 0,
        "memory_limit_mb": 0,
        "ping_interval": 2.5,
        "ping_timeout": 60,
        "high_ping_threshold": 0.5,
    }
    with expected_to_work("LiveKit's ProcJobExecutor is made in another way."):
        executor = ProcJobExecutor(
            initialize_process_fnc=partial(job_process.setup, folder=folder),
            job_entrypoint_fnc=entrypoint,
            session_end_fnc=None,
            simulation_end_fnc=None,
            inference_executor=None,
            http_proxy=None,
            mp_ctx=multiprocessing.get_context("forkserver"),
            loop=asyncio.get_running_loop(),
            **(chosen | options),
        )
    await executor.start()
    try:
        yield executor
    finally:
        if executor.exitcode is None:
            await executor.kill()


async def begin_job(executor: ProcJobExecutor, folder: Path) -> None:
    await executor.initialize()
    await executor.launch_job(JOB)
    await wait_until((folder / "begun").exists, because="the job has begun")


@pytest.mark.parametrize(
    ("entrypoint", "is_closed", "reasons", "breaks"),
    [
        (job_process.loses_its_room, False, session.ROOM_WENT, "an agent that left"),
        (job_process.stays, True, session.ROOM_WENT, "an agent that left"),
        (job_process.crashes, False, session.FAILED, "a completed call, not as a failed one"),
        (job_process.shuts_down, False, ("our own words",), "something else than it was"),
    ],
)
async def test_a_job_is_told_why_it_ends_in_the_words_we_know(
    tmp_path: Path, entrypoint: Entrypoint, is_closed: bool, reasons: tuple[str, ...], breaks: str
) -> None:
    async with process(tmp_path, entrypoint) as executor:
        await begin_job(executor, tmp_path)
        if is_closed:
            await executor.aclose()
        await asyncio.wait_for(executor.join(), 30)
    reason = job_process.told(tmp_path)
    expect(
        reason in reasons,
        f"LiveKit gives a job whose entrypoint {entrypoint.__name__} the reason {reason!r}, not one"
        f" of {reasons}: its call is counted as {breaks}. See livekit_compat/session.py",
    )


async def _ends(executor: ProcJobExecutor, folder: Path) -> None:
    await executor.initialize()
    await executor.join()


async def _is_closed(executor: ProcJobExecutor, folder: Path) -> None:
    await begin_job(executor, folder)
    await executor.aclose()


@pytest.mark.parametrize(
    ("entrypoint", "options", "how", "reason"),
    [
        (job_process.stays, {"memory_limit_mb": 1}, _ends, KillReason.MEMORY),
        (job_process.stays, {"ping_timeout": 0.2}, _ends, KillReason.UNRESPONSIVE),
        (job_process.hangs, {"close_timeout": 0.2}, _is_closed, KillReason.UNRESPONSIVE),
        (job_process.does_not_leave, {"close_timeout": 1}, _is_closed, KillReason.END_CUT_OFF),
    ],
    ids=["memory", "no pong", "no ack", "no exit"],
)
async def test_why_a_process_was_killed_is_read_from_livekits_log(
    tmp_path: Path,
    entrypoint: Entrypoint,
    options: dict[str, float],
    how: Callable[[ProcJobExecutor, Path], Awaitable[None]],
    reason: KillReason,
) -> None:
    reasons = KillReasons()
    with reasons.listening():
        async with process(tmp_path, entrypoint, **options) as executor:
            await asyncio.wait_for(how(executor, tmp_path), 60)
            pid = executor.pid
    expect(executor.exitcode, "LiveKit no longer kills a process for this.")
    expect(
        reasons.pop(pid) is reason,
        f"LiveKit kills a process for {reason.value} in other words, or without its pid: the call"
        " counts as crashed, and no alert speaks of memory. See livekit_compat/kill_reasons.py",
    )


async def test_the_pool_tells_which_job_a_process_has_and_when_it_has_ended(
    tmp_path: Path,
) -> None:
    launched: list[tuple[str, float, str]] = []

    def is_launched(job_id: str, received_at: float, job: RunningJobInfo) -> None:
        launched.append((job_id, received_at, job.job.id))

    closed: list[tuple[str, int | None]] = []
    server = AgentServer()
    setup = partial(job_process.setup, folder=tmp_path)
    options = replace(OPTIONS, memory_limit_mb=0, memory_warn_mb=0, initialize_timeout_seconds=60)
    livekit_server.configure(
        server, options, replace(HOOKS, entrypoint=job_process.shuts_down, setup=setup)
    )

    def watch() -> None:
        livekit_server.watch_processes(server, is_launched, lambda *job: closed.append(job))

    async with running(server, watch):
        await server.simulate_job("room", fake_job=True)
        (job,) = server.active_jobs
        await wait_until(
            lambda: bool(closed),
            because="LiveKit's pool emits `process_closed` for a process that had a job: without it"
            " a slot stays taken for good. See livekit_compat/server.py",
            timeout_seconds=30,
        )
    expect(
        launched == [(job.job.id, job.received_at, job.job.id)],
        "LiveKit's pool no longer emits `process_job_launched` with the process that has the job:"
        f" no call begins for our table. See livekit_compat/server.py. It told {launched}",
    )
    ((job_id, pid),) = closed
    expect(
        job_id == job.job.id and isinstance(pid, int),
        "A process of LiveKit's pool no longer has `running_job` and `pid` when it has closed: no"
        f" reason of its death is found. See livekit_compat/server.py. It told {closed}",
    )

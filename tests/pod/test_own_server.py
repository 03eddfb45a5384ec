"""The agent file's own server is the one that runs: what refers to it in the file finds it alive.

Before, the pod ran a second server, and the file's own was an object that never ran: `active_jobs`
raised, so that every caller of a file which asks for it was refused, and no listener ever ran.
"""

import logging
import threading
from pathlib import Path

import pytest

from tests.pod.livekit_stand_in import LiveKitStandIn
from tests.pod.pods import running_pod
from tests.pod.pool_stand_in import PoolStandIn
from tests.waiting import wait_until
from voicefleet.pod import telemetry

FILE = """
import pathlib
from livekit.agents import AgentServer, JobContext, JobRequest

MARK = pathlib.Path({mark!r})
server = AgentServer({options})

def note(text):
    with MARK.open("a") as file:
        file.write(text + "\\n")

@server.on("worker_started")
def started():
    note("started")

@server.on("worker_registered")
def registered(worker_id, info):
    note(f"registered {{worker_id == server.id}}")

async def only_one(request: JobRequest) -> None:
    note(f"jobs {{len(server.active_jobs)}} draining {{server.draining}}")
    if server.active_jobs:
        await request.reject(terminate=False)
    else:
        await request.accept(name="solo", attributes={{"tenant": "north"}})

@server.rtc_session(agent_name="solo", on_request=only_one, on_simulation_end=lambda _: None)
async def entrypoint(ctx: JobContext) -> None: ...
"""


def agent_file(folder: Path, options: str = "") -> tuple[str, Path]:
    mark = folder / "marks"
    return FILE.format(mark=str(mark), options=options), mark


async def test_listeners_id_and_active_jobs_are_those_of_the_server_that_runs(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    source, mark = agent_file(tmp_path)
    async with running_pod(livekit, pool, tmp_path, source=source) as pod:
        await pod.becomes_ready()
        assert mark.read_text().splitlines() == ["started", "registered True"]
        first = await livekit.offer()
        answer = await first.answer()
        assert (answer.available, answer.participant_name) == (True, "solo")
        assert answer.participant_attributes["tenant"] == "north"
        await first.assign()
        await pod.has_calls(1)
        # The second is the file's own to refuse: a slot is free.
        second = await livekit.offer()
        assert not (await second.answer()).available
        await pod.has_counted(1, cause="agent_file")
        said = mark.read_text().splitlines()[2:]
        assert said == ["jobs 0 draining False", "jobs 1 draining False"]


async def test_what_settings_replace_is_named_once_and_the_rest_stays_the_files(
    livekit: LiveKitStandIn,
    pool: PoolStandIn,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = (
        "load_fnc=lambda: 1.0, num_idle_processes=9, port=1, drain_timeout=5,"
        " shutdown_process_timeout=45.0"
    )
    source, _ = agent_file(tmp_path, options)
    caplog.set_level(logging.INFO)
    async with running_pod(livekit, pool, tmp_path, source=source) as pod:
        await pod.becomes_ready()
        # Two slots, whatever the file says of idle processes, and no load of its own making.
        await pool.until(lambda: len(pool.warm) == 2, because="two processes wait")
        assert (await (await livekit.offer()).answer()).available
        assert {job._close_timeout for job in pool.alive} == {45.0}
    named = [r.__dict__["options"] for r in caplog.records if "replaced" in str(r.msg)]
    assert named == [["port", "load_fnc", "num_idle_processes", "drain_timeout"]]


async def test_a_metrics_scrape_that_hangs_in_the_kernel_delays_no_answer(
    livekit: LiveKitStandIn,
    pool: PoolStandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Six reads that hung took all threads on which LiveKit reads the load before each answer:
    5.0 s on two cores, and LiveKit gives up after 3.
    """
    release = threading.Event()

    def hang(pids: object) -> dict[int, int]:
        release.wait(20)
        return {}

    monkeypatch.setattr(telemetry, "_memory_bytes", hang)
    monkeypatch.setattr(telemetry, "MEMORY_WITHIN_SECONDS", 0.1)
    try:
        async with running_pod(livekit, pool, tmp_path) as pod:
            await pod.becomes_ready()
            for _ in range(8):
                assert await pod.status("/metrics") == 200
            offer = await livekit.offer()
            assert (await offer.answer()).available

            async def is_counted() -> bool:
                return await pod.metric("voicefleet_calls_taken_total") == 1

            await wait_until(is_counted, because="metrics go on", timeout_seconds=5)
            release.set()
    finally:
        release.set()

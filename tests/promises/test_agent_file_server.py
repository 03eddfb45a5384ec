"""Agent files that people run, hosted as they are: the file's own server is the one that runs.

The files are in `cases/`; beside each stand neighbours of its kind.
"""

import asyncio
import os
import signal

import pytest

from tests.promises.conftest import Host
from tests.promises.hosting import (
    marks,
    over,
    written,
)
from tests.promises.test_pod import causes, exit_code_of, logged, worker_of
from tests.promises.visitor import dispatch, new_room, visiting
from tests.waiting import wait_until
from voicefleet.errors import ExitCode
from voicefleet.lab import processes

pytestmark = pytest.mark.server


async def test_a_handler_that_counts_the_servers_jobs_takes_one_caller_and_refuses_the_next(
    host: Host,
) -> None:
    async with host("one_job_at_a_time") as up:
        first, second = new_room(), new_room()
        async with visiting(up, first) as solo:
            await dispatch(up, first)
            agent = await solo.meets_an_agent()
            assert (agent.name, agent.attributes["tenant"]) == ("solo", "north")
            await solo.is_greeted()
            async with visiting(up, second) as next_one:
                await dispatch(up, second)
                await wait_until(lambda: bool(logged(up, "refused")), because="it is refused")
                assert next_one.agents() == []
        await over(up, "caller_left")
        assert [record["cause"] for record in logged(up, "refused")] == ["agent_file"]


async def test_the_servers_events_reach_the_files_listeners(host: Host) -> None:
    async with host("server_events") as up:
        worker_id, _, own_id = (await written(up, "registered")).partition(" ")
        assert worker_id == own_id != "unregistered"
        assert await written(up, "started") == "started"
        (record,) = logged(up, "registered worker")
        assert record["id"] == worker_id


async def test_a_server_class_of_the_files_own_sees_its_calls_and_its_id(host: Host) -> None:
    async with host("own_server_class") as up:
        (record,) = logged(up, "registered worker")
        await wait_until(
            lambda: (marks(up) / "active").read_text() == f"{record['id']} 0", because="no call yet"
        )
        room = new_room()
        async with visiting(up, room) as visitor:
            await dispatch(up, room)
            await visitor.is_greeted()
            assert (marks(up) / "active").read_text() == f"{record['id']} 1"
        await over(up, "caller_left")
        (replaced,) = logged(up, "options of the agent file's server are replaced")
        assert replaced["options"] == ["load_threshold", "num_idle_processes"]


async def test_a_server_that_its_file_drains_takes_no_more_and_keeps_its_call(host: Host) -> None:
    """And SIGTERM finds a drain that is not the pod's, and waits for the call all the same."""
    async with host("drained_by_the_file") as up:
        room = new_room()
        async with visiting(up, room) as visitor:
            await dispatch(up, room)
            await visitor.is_greeted()
            os.kill(worker_of(up).pid, signal.SIGTERM)
            await asyncio.sleep(3.0)
            assert processes.is_alive(worker_of(up))
            assert visitor.agents()
        assert await exit_code_of(worker_of(up)) == ExitCode.OK
        assert causes(up) == ["caller_left"]

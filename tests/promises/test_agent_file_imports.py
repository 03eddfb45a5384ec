"""Agent files that people run, hosted as they are: what an import
does to the process stays out of it, and a file of another style is hosted like any other.

The files are in `cases/`; beside each stand neighbours of its kind.
"""

import asyncio
import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.promises.conftest import CASES, Host
from tests.promises.hosting import (
    KEY_IN_THE_LOG,
    check,
    environment_of,
    is_answered,
    leaves_when_told,
    marks,
    output,
    over,
    plain_lines,
)
from tests.promises.test_pod import causes, exit_code_of, logged, worker_of
from tests.promises.visitor import dispatch, new_room, visiting
from tests.waiting import wait_until
from voicefleet.errors import ExitCode
from voicefleet.lab import stack
from voicefleet.lab.stack import Stack

pytestmark = pytest.mark.server


def assert_that_the_log_is_the_pods_own(up: Stack) -> None:
    assert plain_lines(up) == []
    records = [json.loads(line) for line in output(up)]
    assert {"level", "name", "message", "timestamp"} <= set.intersection(*map(set, records))
    (order, *_) = [record for record in records if record["message"].startswith("order for")]
    assert "[hidden]" in order["message"]
    assert order["job_id"]
    assert order["trace_id"]
    assert not [line for line in output(up) if KEY_IN_THE_LOG in line]
    for ended in logged(up, "call over"):
        assert {"job_id", "room_id", "outcome", "cause", "seconds"} <= ended.keys()


@pytest.mark.parametrize(
    "case", ["own_logging_dictconfig", "own_logging_force", "own_logging_fileconfig"]
)
async def test_a_file_with_its_own_logging_leaves_the_pods_log_and_the_causes_as_they_are(
    host: Host, case: str
) -> None:
    """Its records go into the pod's log, redacted and with their ids."""
    key = {"OPENAI_API_KEY": stack.KEY, "VOICEFLEET_REPORT_TOKEN": KEY_IN_THE_LOG}
    memory = {
        "VOICEFLEET_CALL_MEMORY_WARN_BYTES": "350MiB",
        "VOICEFLEET_CALL_MEMORY_LIMIT_BYTES": "400MiB",
        # A death ends its call, and so is told with its cause.
        "VOICEFLEET_RESUME": "0",
    }
    async with host(case, **key, **memory) as up:
        await is_answered(up)
        await over(up, "caller_left")
        for metadata, cause in (("crash", "crashed"), ("leak", "memory")):
            if metadata == "leak" and case == "own_logging_fileconfig":
                continue
            async with visiting(up, room := new_room()):
                await dispatch(up, room, metadata)
                await wait_until(
                    lambda cause=cause: cause in causes(up),  # type: ignore[misc]
                    because=f"{metadata} is {cause}",
                    timeout_seconds=40.0,
                )
        await leaves_when_told(up)
        assert_that_the_log_is_the_pods_own(up)


async def test_a_file_that_sets_up_its_logging_in_the_call_leaves_the_pods_log_as_it_is(
    host: Host,
) -> None:
    key = {"OPENAI_API_KEY": stack.KEY, "VOICEFLEET_REPORT_TOKEN": KEY_IN_THE_LOG}
    async with host("own_logging_late", **key) as up:
        await is_answered(up)
        await over(up, "caller_left")
        await leaves_when_told(up)
        assert_that_the_log_is_the_pods_own(up)


@pytest.mark.parametrize("to_the_group", [False, True], ids=["to the pod", "to its group"])
async def test_a_file_with_its_own_end_at_sigterm_does_not_end_a_call(
    host: Host, to_the_group: bool
) -> None:
    async with host("own_sigterm") as up:
        room, worker = new_room(), worker_of(up)
        async with visiting(up, room) as visitor:
            await dispatch(up, room)
            await visitor.meets_an_agent()
            for _ in range(2):
                if to_the_group:
                    os.killpg(os.getpgid(worker.pid), signal.SIGTERM)
                else:
                    os.kill(worker.pid, signal.SIGTERM)
                await asyncio.sleep(0.5)
            await visitor.is_greeted()
            await asyncio.sleep(2.0)
            assert visitor.agents()
            assert "BYE" not in output(up)
        assert await exit_code_of(worker) == ExitCode.OK
        assert causes(up) == ["caller_left"]


@pytest.mark.parametrize("case", ["old_worker_options", "unguarded_run_app"])
async def test_a_file_of_another_style_is_hosted_like_any_other(host: Host, case: str) -> None:
    """Options in place of a server, and `run_app` outside of its guard, are run by the pod."""
    async with host(case) as up:
        await is_answered(up)
        await over(up, "caller_left")
        checked = await check(up.folder, environment_of(up, case))
        assert f"ok    agent file: {CASES / case}.py, dispatched as" in checked
        await leaves_when_told(up)


async def test_options_given_by_a_function_main_are_hosted_with_their_handler(host: Host) -> None:
    async with host("main_function") as up:
        room = new_room()
        async with visiting(up, room) as visitor:
            await dispatch(up, room)
            agent = await visitor.meets_an_agent()
            assert (agent.name, agent.attributes["tenant"]) == ("Main", "north")
            await visitor.is_greeted()
        await dispatch(up, new_room(), "blocked")
        await wait_until(lambda: bool(logged(up, "refused")), because="a blocked one is refused")
        assert [record["cause"] for record in logged(up, "refused")] == ["agent_file"]
        await over(up, "caller_left")
        await leaves_when_told(up)


async def test_a_file_that_changes_its_process_is_hosted_and_its_thread_works(host: Host) -> None:
    async with host("changes_the_process") as up:
        worker, room = worker_of(up), new_room()
        parent = psutil.Process(worker.pid)
        async with visiting(up, room) as visitor:
            await dispatch(up, room)
            await visitor.is_greeted()
            assert Path(parent.cwd()) == up.folder
            os.kill(worker.pid, signal.SIGINT)
            await asyncio.sleep(2.0)
            assert visitor.agents()
        assert await exit_code_of(worker) == ExitCode.OK
        assert causes(up) == ["caller_left"]
        assert (marks(up) / f"beat-{worker.pid}").is_file()
        assert not (marks(up) / "policy").exists()
        assert plain_lines(up) == []

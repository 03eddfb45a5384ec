"""Agent files that people run, hosted as they are: what a call leaves behind goes with it.

The files are in `cases/`; beside each stand neighbours of its kind.
"""

import os
import signal
from contextlib import suppress

import psutil
import pytest

from tests.promises.conftest import Host
from tests.promises.hosting import (
    REAPED_WITHIN_SECONDS,
    is_free,
    leaves_when_told,
    over,
    written,
)
from tests.promises.test_pod import causes, logged, worker_of
from tests.promises.visitor import dispatch, new_room, visiting
from tests.waiting import wait_until
from voicefleet.job.prewarm import THREADS_END_WITHIN_SECONDS
from voicefleet.lab.processes import Running
from voicefleet.lab.stack import Stack

pytestmark = pytest.mark.server


def alive(pids: list[int]) -> list[int]:
    """Those that there still are, zombies included."""
    return [pid for pid in pids if psutil.pid_exists(pid)]


def descendants_of(worker: Running) -> list[str]:
    """The pod's programs that are none of its own, and its zombies."""
    found = list[str]()
    for process in psutil.Process(worker.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            is_zombie = process.status() == psutil.STATUS_ZOMBIE
            if is_zombie or "python" not in process.name():
                found.append(f"{process.name()} {process.status()}")
    return found


async def pids_of(up: Stack, room: str) -> list[int]:
    return [int(pid) for pid in (await written(up, f"{room}.pids")).split()]


async def nothing_is_left(
    up: Stack, pids: list[int], within_seconds: float = REAPED_WITHIN_SECONDS
) -> None:
    await wait_until(
        lambda: alive(pids) == [] and descendants_of(worker_of(up)) == [],
        because=f"{pids} have gone, and left nothing",
        timeout_seconds=within_seconds,
    )


async def test_programs_of_an_ended_call_are_ended_and_leave_no_zombie(host: Host) -> None:
    """Also after a job that was killed; and a thread that never ends keeps no process."""
    async with host("child_processes", VOICEFLEET_SLOTS="1", VOICEFLEET_RESUME="0") as up:
        for metadata in ("", "thread", "killed"):
            room = new_room()
            await dispatch(up, room, metadata)
            async with visiting(up, room) as visitor:
                await visitor.meets_an_agent()
                pids = await pids_of(up, room)
                if metadata == "killed":
                    os.kill(pids[0], signal.SIGKILL)
            await is_free(up)
            within = THREADS_END_WITHIN_SECONDS if metadata == "thread" else 0.0
            await nothing_is_left(up, pids, within + REAPED_WITHIN_SECONDS)
        await over(up, "caller_left", "caller_left", "crashed")
        (replaced,) = logged(up, "options of the agent file's server are replaced")
        assert replaced["options"] == [
            "load_fnc",
            "drain_timeout",
            "job_executor_type",
            "job_memory_limit_mb",
        ]
        await leaves_when_told(up)


@pytest.mark.parametrize("is_killed", [False, True], ids=["ends", "is killed"])
async def test_programs_that_do_not_want_to_end_go_with_a_call_that(
    host: Host, is_killed: bool
) -> None:
    async with host("stubborn_programs", VOICEFLEET_SLOTS="1", VOICEFLEET_RESUME="0") as up:
        for kind in ("deaf", "detached", "spawned"):
            room = new_room()
            await dispatch(up, room, kind)
            async with visiting(up, room) as visitor:
                await visitor.meets_an_agent()
                pids = await pids_of(up, room)
                if is_killed:
                    os.kill(pids[0], signal.SIGKILL)
            await is_free(up)
            await nothing_is_left(up, pids)
        await over(up, *["crashed" if is_killed else "caller_left"] * 3)
        await leaves_when_told(up)


async def test_programs_that_the_file_starts_in_the_pod_are_its_own(host: Host) -> None:
    """A call that ends or dies meanwhile does not have them taken for its orphans."""
    async with host("asks_a_program", VOICEFLEET_RESUME="0") as up:
        sidecar = int(await written(up, "sidecar"))
        await dispatch(up, new_room(), "dies")
        await wait_until(lambda: causes(up) == ["crashed"], because="one call has died")
        for _ in range(2):
            room = new_room()
            async with visiting(up, room) as visitor:
                await dispatch(up, room)
                agent = await visitor.meets_an_agent()
                assert agent.attributes["tenant"] == "north"
                await visitor.is_greeted()
        assert alive([sidecar])
        await over(up, "caller_left", "caller_left", "crashed")
        await leaves_when_told(up)

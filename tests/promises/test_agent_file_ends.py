"""Agent files that people run, hosted as they are: what the file does
at the end of a call is done to its end.

The files are in `cases/`; beside each stand neighbours of its kind.
"""

import os
import signal

import pytest

from tests.promises.conftest import Host
from tests.promises.hosting import drainz, is_free, marks, over, written
from tests.promises.test_pod import causes, exit_code_of, logged, worker_of
from tests.promises.visitor import dispatch, new_room, visiting
from voicefleet.errors import ExitCode

pytestmark = pytest.mark.server


async def test_a_shutdown_callback_has_the_time_that_its_file_gives_it(host: Host) -> None:
    """LiveKit's 10 s began to count when the room was closed, or the pod drained."""
    async with host("long_shutdown_callback", VOICEFLEET_SLOTS="2") as up:
        rooms = [new_room(), new_room()]
        for room in rooms:
            await dispatch(up, room, "25")
        async with visiting(up, rooms[0]) as one, visiting(up, rooms[1]) as other:
            await one.meets_an_agent()
            await other.meets_an_agent()
        for room in rooms:
            await written(up, f"{room}.begun")
        os.kill(worker_of(up).pid, signal.SIGTERM)
        assert await exit_code_of(worker_of(up)) == ExitCode.OK
        assert all((marks(up) / f"{room}.done").is_file() for room in rooms)
        assert causes(up) == ["caller_left", "caller_left"]


async def test_a_shutdown_callback_outlives_the_drains_deadline(host: Host) -> None:
    async with host("long_shutdown_callback", VOICEFLEET_DRAIN_TIMEOUT_SECONDS="2") as up:
        room = new_room()
        await dispatch(up, room, "15")
        async with visiting(up, room) as visitor:
            await visitor.meets_an_agent()
            os.kill(worker_of(up).pid, signal.SIGTERM)
            await written(up, f"{room}.begun", within_seconds=30.0)
        assert await exit_code_of(worker_of(up)) == ExitCode.OK
        assert (marks(up) / f"{room}.done").is_file()
        assert causes(up) == ["drained"]


async def test_a_shutdown_callback_that_is_cut_off_is_the_cause_of_its_call(host: Host) -> None:
    short = {
        "VOICEFLEET_SHUTDOWN_TIMEOUT_SECONDS": "3",
        "VOICEFLEET_DRAIN_TIMEOUT_SECONDS": "2",
        # After the deadline the pod waits so long for the ends of its calls.
        "VOICEFLEET_SESSION_END_TIMEOUT_SECONDS": "1",
    }
    async with host("long_shutdown_callback", **short) as up:
        room = new_room()
        await dispatch(up, room, "100")
        async with visiting(up, room) as visitor:
            await visitor.meets_an_agent()
            os.kill(worker_of(up).pid, signal.SIGTERM)
        assert await exit_code_of(worker_of(up)) == ExitCode.OK
        assert (marks(up) / f"{room}.begun").is_file()
        assert not (marks(up) / f"{room}.done").is_file()
        (ended,) = logged(up, "call over")
        assert (ended["cause"], ended["outcome"]) == ("end_cut_off", "completed")


async def test_a_file_with_an_end_of_its_own_is_held_to_it_and_its_call_counted_once(
    host: Host,
) -> None:
    async with host("ends_by_itself", VOICEFLEET_SLOTS="1") as up:
        for kind in ("leaves", "raises", "writes"):
            room = new_room()
            await dispatch(up, room, kind)
            async with visiting(up, room) as visitor:
                await visitor.meets_an_agent()
            await is_free(up)
            assert await written(up, f"{room}.booked") == kind
            assert await written(up, f"{room}.ended") == "ended"
            if kind == "writes":
                assert await written(up, f"{room}.written") == "written"
        await over(up, *["caller_left"] * 3)
        assert (await drainz(up))["calls"] == 0

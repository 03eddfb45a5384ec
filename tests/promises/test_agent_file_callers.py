"""Agent files that people run, hosted as they are: whether a
caller is still there is known without a session, too.

The files are in `cases/`; beside each stand neighbours of its kind.
"""

import asyncio
import os
import signal

import pytest
from livekit.agents.types import TOPIC_CHAT

from tests.promises.conftest import Host
from tests.promises.hosting import (
    drainz,
    is_free,
    is_taken,
    over,
    written,
)
from tests.promises.test_pod import causes, exit_code_of, worker_of
from tests.promises.visitor import dispatch, new_room, visiting
from tests.waiting import wait_until
from voicefleet.errors import ExitCode
from voicefleet.lab import processes

pytestmark = pytest.mark.server


async def test_a_call_whose_entrypoint_never_comes_to_a_session_frees_its_slot_with_its_caller(
    host: Host,
) -> None:
    """Stock keeps the slot of the first two until its process ends."""
    kinds = ("hangs", "forgets", "waits", "fails", "refuses")
    expected = ["agent_left", "caller_left", "caller_left", "caller_left", "error"]
    async with host("slow_backend", VOICEFLEET_SLOTS="1") as up:
        for kind in kinds:
            room = new_room()
            await dispatch(up, room, kind)
            async with visiting(up, room):
                await asyncio.sleep(4.0)
                if kind in ("hangs", "forgets", "waits"):
                    assert (await drainz(up))["free_slots"] == 0
            await is_free(up)
            await written(up, f"{room}.booked")
        await over(up, *expected)

        # One more, and the pod is told to stop meanwhile.
        room = new_room()
        await dispatch(up, room, "hangs")
        async with visiting(up, room):
            await is_taken(up)
            await asyncio.sleep(3.0)
            os.kill(worker_of(up).pid, signal.SIGTERM)
            await asyncio.sleep(1.0)
            assert processes.is_alive(worker_of(up))
        assert await exit_code_of(worker_of(up)) == ExitCode.OK
        assert causes(up) == sorted([*expected, "caller_left"])


async def test_a_call_to_which_nobody_comes_frees_its_slot(host: Host) -> None:
    """A real caller who is there is not taken for nobody, however long the entrypoint waits."""
    short = {"VOICEFLEET_EMPTY_ROOM_SECONDS": "4", "VOICEFLEET_SLOTS": "1"}
    async with host("slow_backend", **short) as up:
        for kind in ("hangs", "waits"):
            await dispatch(up, new_room(), kind)
            await is_taken(up)
            await is_free(up, within_seconds=12.0)
        await over(up, "nobody_came", "nobody_came")
        async with visiting(up, room := new_room()):
            await dispatch(up, room, "waits")
            await asyncio.sleep(10.0)
            assert (await drainz(up))["free_slots"] == 0
        await is_free(up)
        await over(up, "nobody_came", "nobody_came", "caller_left")


async def test_a_call_without_a_session_or_no_longer_with_its_first_ends_with_its_caller(
    host: Host,
) -> None:
    """One whose entrypoint swallows its cancellation gives its slot back as quickly."""
    short = {"VOICEFLEET_EMPTY_ROOM_SECONDS": "4", "VOICEFLEET_SLOTS": "1"}
    async with host("without_session", **short) as up:
        for kind in ("echoes", "lingers", "second"):
            room = new_room()
            await dispatch(up, room, kind)
            async with visiting(up, room) as visitor:
                if kind == "second":
                    await visitor.is_greeted()
                await asyncio.sleep(7.0)
                assert (await drainz(up))["free_slots"] == 0
            await is_free(up)
            await written(up, f"{room}.booked")
        room = new_room()
        await dispatch(up, room, "swallows")
        async with visiting(up, room):
            await asyncio.sleep(4.0)
        await is_free(up)
        await over(up, *["caller_left"] * 3, within_seconds=5.0)


async def test_an_agent_that_serves_the_next_visitor_is_not_taken_from_its_room(
    host: Host,
) -> None:
    async with host("next_visitor") as up:
        room = new_room()
        await dispatch(up, room)
        async with visiting(up, room, "ada") as ada:
            await ada.is_greeted("Good day ada")
            bob = visiting(up, room, "bob")
            there = await bob.__aenter__()
        try:
            await there.is_greeted("Good day bob")
            await asyncio.sleep(3.0)
            assert there.agents()
            assert causes(up) == []
        finally:
            await bob.__aexit__(None, None, None)
        await over(up, "caller_left")


@pytest.mark.parametrize(
    ("by", "seconds_afterwards"), [("automatic dispatch", "8"), ("the token's dispatch", "0")]
)
async def test_a_caller_who_is_back_in_the_same_room_is_answered_again(
    host: Host, by: str, seconds_afterwards: str
) -> None:
    """LiveKit dispatches when a room is made, and keeps an empty one for 20 s: stock leaves whoever
    reloads the page alone. Here the agent is gone at once, or has to write up the call first.
    """
    is_named = by == "the token's dispatch"
    named = {"NAME_OF_AGENT": "greeter"} if is_named else {}
    asks_for = "greeter" if is_named else None
    async with host("page_reload", SECONDS_AFTERWARDS=seconds_afterwards, **named) as up:
        room, calls, before = new_room(), 0, ""
        for pause_seconds in (0.0, 2.0, 10.0, 0.0):
            await asyncio.sleep(pause_seconds)
            async with visiting(up, room, asks_for=asks_for) as visitor:
                await visitor.turns_on_a_microphone()
                if pause_seconds:
                    await visitor.is_greeted()
                    calls += 1
                else:
                    # Only one who is back at once may be in the same call; the first is in none.
                    calls += await visitor.is_greeted_again(before)
                before = visitor.agents()[0].identity
        await over(up, *["caller_left"] * calls, within_seconds=20.0)


async def test_a_caller_who_hangs_up_before_the_agent_is_in_the_room_keeps_no_slot(
    host: Host,
) -> None:
    """The file looks something up first. Stock waits for somebody until LiveKit closes the room."""
    settings = {"NAME_OF_AGENT": "greeter", "SECONDS_BEFOREHAND": "1", "VOICEFLEET_SLOTS": "1"}
    async with host("page_reload", **settings) as up:
        room = new_room()
        async with visiting(up, room, asks_for="greeter"):
            await is_taken(up)
            await asyncio.sleep(0.3)
        await is_free(up, within_seconds=8.0)
        await over(up, "caller_left")


async def test_a_caller_whose_going_nobody_was_told_of_goes_on_with_the_same_agent(
    host: Host,
) -> None:
    """Without a microphone, LiveKit tells of a departure up to 3 s late, or not at all."""
    async with host("page_reload") as up:
        room = new_room()
        async with visiting(up, room) as visitor:
            await visitor.is_greeted()
        await asyncio.sleep(0.5)
        async with visiting(up, room) as visitor:
            await visitor.room.local_participant.send_text("Hello?", topic=TOPIC_CHAT)
            await wait_until(lambda: visitor.written != [], because="the agent answers")
        await over(up, "caller_left")

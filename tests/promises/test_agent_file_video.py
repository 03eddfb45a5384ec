"""Agent files with pictures, hosted as they are: one looks at the caller, one has a face."""

import asyncio
import os
import signal

import pytest

from tests.promises.conftest import Host
from tests.promises.hosting import is_free, over
from tests.promises.test_agents import plan
from tests.promises.test_pod import causes, exit_code_of, worker_of
from tests.promises.visitor import new_room, visiting
from tests.waiting import wait_until
from voicefleet.errors import ExitCode
from voicefleet.lab import caller, processes, timeline

pytestmark = pytest.mark.server


async def test_a_file_that_puts_the_callers_video_before_its_llm_is_hosted(host: Host) -> None:
    async with host("sees", script="vision") as up:
        done = await caller.place_call(plan(up, "vision"))
        await over(up, "caller_left")
    assert timeline.verdict(done) is None


@pytest.mark.parametrize("kind", ["agent", "standard"])
async def test_a_call_with_an_avatar_is_counted_and_drained_like_others(
    host: Host, kind: str
) -> None:
    """An avatar is no caller: it keeps no slot when the caller has left, nor the room."""
    async with host("avatar", VOICEFLEET_SLOTS="1", KIND_OF_AVATAR=kind) as up:
        room = new_room()
        for _ in range(2):
            async with visiting(up, room) as visitor:
                await visitor.turns_on_a_microphone()
                await visitor.is_greeted()
                # Its words are told of before its tracks are.
                await wait_until(
                    lambda: len(visitor.tracks_of("avatar")) == 2, because="it has voice and face"
                )
            await is_free(up)
        await over(up, "caller_left", "caller_left")

        async with visiting(up, new_room()) as visitor:
            await visitor.turns_on_a_microphone()
            await wait_until(lambda: bool(visitor.tracks_of("avatar")), because="it is there")
            os.kill(worker_of(up).pid, signal.SIGTERM)
            await visitor.is_greeted()
            await asyncio.sleep(2.0)
            assert processes.is_alive(worker_of(up))
        assert await exit_code_of(worker_of(up)) == ExitCode.OK
        assert causes(up) == ["caller_left"] * 3

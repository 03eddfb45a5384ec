"""How the pod ends a call that it must end: with words to the caller, and a cause in its log."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from livekit import api, rtc

from tests.promises.conftest import RunStack
from tests.promises.test_pod import ASSISTANT, causes, exit_code_of, greeting_only, plan, worker_of
from tests.waiting import wait_until
from voicefleet.errors import ExitCode
from voicefleet.lab import caller, line
from voicefleet.lab.stack import Stack
from voicefleet.lab.timeline import Event, EventKind

pytestmark = pytest.mark.server

# Words that the stand-in's voice and the caller's ears know.
FAREWELL = ASSISTANT.exchanges[-1].agent
# The farewell comes in the middle of a long answer, before the caller says goodbye.
LONG_ANSWER = replace(ASSISTANT, exchanges=(ASSISTANT.exchanges[1], ASSISTANT.exchanges[-1]))


async def over_for(up: Stack, *expected: str) -> None:
    await wait_until(
        lambda: causes(up) == list(expected), because=f"over: {expected}", timeout_seconds=8.0
    )


async def test_a_call_that_lasts_too_long_is_ended_with_words_to_the_caller(
    run_stack: RunStack,
) -> None:
    limit = {"VOICEFLEET_CALL_LONGEST_SECONDS": "12", "VOICEFLEET_CALL_FAREWELL": FAREWELL}
    async with run_stack("assistant", VOICEFLEET_SLOTS="1", **limit) as up:
        done = await caller.place_call(replace(plan(up), conversation=LONG_ANSWER))
        await over_for(up, "too_long")
    assert done.was_ended_by_agent
    assert done.turns[1].agent_said.endswith(FAREWELL)


async def test_a_call_in_which_nobody_speaks_is_ended_with_words_to_the_caller(
    run_stack: RunStack,
) -> None:
    limit = {"VOICEFLEET_CALL_SILENCE_SECONDS": "4", "VOICEFLEET_CALL_FAREWELL": FAREWELL}
    # The caller hears the greeting, and would say goodbye half a minute later.
    goodbye = replace(ASSISTANT.exchanges[-1], interrupts_after_seconds=30.0)
    async with run_stack("assistant", VOICEFLEET_SLOTS="1", **limit) as up:
        script = replace(ASSISTANT, exchanges=(goodbye,))
        done = await caller.place_call(replace(plan(up), conversation=script))
        await over_for(up, "silent")
    assert done.was_ended_by_agent
    assert done.turns[0].agent_said.endswith(FAREWELL)


async def test_a_call_still_on_at_the_drains_deadline_is_ended_with_words_to_the_caller(
    run_stack: RunStack,
) -> None:
    """A stock worker closes its calls at the deadline without a word. Where another agent is in the
    room, the room is left to it.
    """
    limit = {"VOICEFLEET_DRAIN_TIMEOUT_SECONDS": "5", "VOICEFLEET_CALL_FAREWELL": FAREWELL}
    async with run_stack("assistant", VOICEFLEET_SLOTS="1", **limit) as up:
        worker, is_talking = worker_of(up), asyncio.Event()

        def on_event(event: Event) -> None:
            if event.kind is EventKind.CALLER_SPEAKS and not is_talking.is_set():
                is_talking.set()
                os.kill(worker.pid, signal.SIGTERM)

        plan_of_call = replace(plan(up), conversation=LONG_ANSWER)
        calling = asyncio.create_task(caller.place_call(plan_of_call, on_event=on_event))
        await is_talking.wait()
        async with another_agent_in(up, plan_of_call.room) as left:
            done = await calling
            assert await exit_code_of(worker) == ExitCode.OK
        assert causes(up) == ["drained"]
    assert done.was_ended_by_agent
    assert done.turns[1].agent_said.endswith(FAREWELL)
    agent = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
    assert left[0] == (agent, rtc.DisconnectReason.CLIENT_INITIATED)


@asynccontextmanager
async def another_agent_in(up: Stack, name: str) -> AsyncIterator[list[tuple[int, int | None]]]:
    """Somebody else's agent, with a voice, and who left the room before it: their kind, and for
    what reason.
    """
    grants = api.VideoGrants(room_join=True, room=name)
    token = api.AccessToken(up.api_key, up.api_secret).with_identity("another").with_kind("agent")
    room = rtc.Room()
    left: list[tuple[int, int | None]] = []

    def on_left(who: rtc.RemoteParticipant) -> None:
        left.append((who.kind, who.disconnect_reason))

    room.on("participant_disconnected", on_left)
    await room.connect(up.url, token.with_grants(grants).to_jwt())
    voice = rtc.AudioSource(sample_rate=24_000, num_channels=1)
    track = rtc.LocalAudioTrack.create_audio_track("voice", voice)
    await room.local_participant.publish_track(track)
    try:
        yield left
    finally:
        await line.leave(room)
        await voice.aclose()


async def test_a_caller_who_leaves_frees_the_slot_at_once(run_stack: RunStack) -> None:
    """LiveKit alone keeps the job until the room is closed, about 20 s later, and hears every 2.5 s
    whether a pod is full.
    """
    async with run_stack("assistant", VOICEFLEET_SLOTS="1") as up:
        for _ in range(3):
            done = await caller.place_call(greeting_only(up))
            assert done.first_audio_seconds is not None
        await over_for(up, *["caller_left"] * 3)

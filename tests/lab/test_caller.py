import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from livekit import api

from tests.lab import agent_process
from tests.lab.echo_script import ANSWER, GREETING, QUESTIONS
from voicefleet import errors
from voicefleet.lab.caller import CallPlan, place_call, plan_from_lines
from voicefleet.lab.conversation import Conversation, Exchange
from voicefleet.lab.livekit_server import LiveKitServer
from voicefleet.lab.timeline import Event, EventKind, verdict

pytestmark = pytest.mark.server

INTERRUPTED = Conversation(
    "lab-echo",
    GREETING,
    (
        Exchange(QUESTIONS[0], ANSWER),
        Exchange(QUESTIONS[1], ANSWER, interrupts_after_seconds=1.5),
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def echo(livekit_server: LiveKitServer) -> AsyncIterator[CallPlan]:
    async with agent_process.run(Path(__file__).with_name("echo_agent.py"), livekit_server):
        yield plan(livekit_server)


def plan(server: LiveKitServer) -> CallPlan:
    return CallPlan(server.url, server.api_key, server.api_secret, "lab-echo", INTERRUPTED)


async def rooms(one: CallPlan) -> list[str]:
    async with api.LiveKitAPI(one.url, one.api_key, one.api_secret) as livekit:
        answer = await livekit.room.list_rooms(api.ListRoomsRequest())
    return [room.name for room in answer.rooms]


async def test_a_call_is_heard_answered_interrupted_and_taken_down(echo: CallPlan) -> None:
    events: list[Event] = []
    timeline = await place_call(echo, on_event=events.append)

    assert verdict(timeline) is None, timeline.to_json()
    greeting, asked, interrupting = timeline.turns
    assert 0 < timeline.agent_joined_seconds < (timeline.first_audio_seconds or 0)
    assert greeting.heard == GREETING
    assert asked.agent_heard == QUESTIONS[0]
    assert asked.was_interrupted
    assert ANSWER.startswith(asked.heard)
    assert interrupting.is_interruption
    # The echo waits for half a second of silence before it answers, and stops after 0.2 s of sound.
    assert 0.5 < (interrupting.gap_seconds or 0) < 3
    assert 0.2 < (interrupting.stopped_after_seconds or 0) < 3
    assert await rooms(echo) == []

    kinds = [event.kind for event in events]
    assert kinds[:3] == [EventKind.DISPATCHED, EventKind.AGENT_JOINED, EventKind.FIRST_AUDIO]
    assert kinds[-1] == EventKind.CALL_ENDED
    assert set(kinds) >= {EventKind.CALLER_SPEAKS, EventKind.AGENT_HEARD, EventKind.INTERRUPTED}
    assert [e.text for e in events if e.kind is EventKind.CALLER_HEARD][-1] == ANSWER


async def test_without_expectations_the_agents_own_transcript_tells(echo: CallPlan) -> None:
    script = plan_from_lines([QUESTIONS[0]])
    timeline = await place_call(replace(echo, conversation=script, room="call-unknown"))

    assert verdict(timeline) is None, timeline.to_json()
    greeting, asked = timeline.turns
    assert greeting.agent_said == GREETING
    assert asked.agent_said == ANSWER
    assert asked.heard == ""
    assert 0.5 < (asked.gap_seconds or 0) < 3


async def test_an_answer_that_was_not_expected_is_a_finding(echo: CallPlan) -> None:
    script = plan_from_lines([QUESTIONS[0]], ["The moon is made of cheese."])
    timeline = await place_call(replace(echo, conversation=script, room="call-surprise"))

    assert timeline.agent_understood
    assert not timeline.caller_understood
    assert isinstance(verdict(timeline), errors.NotUnderstoodError)


async def test_a_call_that_is_cancelled_leaves_no_room_behind(echo: CallPlan) -> None:
    is_answered = asyncio.Event()
    call = asyncio.create_task(
        place_call(
            replace(echo, room="call-cancelled"),
            on_event=lambda e: is_answered.set() if e.kind is EventKind.FIRST_AUDIO else None,
        ),
        name="call",
    )
    async with asyncio.timeout(30):
        await is_answered.wait()
    assert await rooms(echo) == ["call-cancelled"]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await rooms(echo) == []


async def test_an_agent_that_hangs_up_leaves_the_rest_unsaid(echo: CallPlan) -> None:
    async def delete_room() -> None:
        async with api.LiveKitAPI(echo.url, echo.api_key, echo.api_secret) as livekit:
            await livekit.room.delete_room(api.DeleteRoomRequest(room="call-cut"))

    deleting: list[asyncio.Task[None]] = []

    def on_event(event: Event) -> None:
        if event.kind is EventKind.FIRST_AUDIO:
            deleting.append(asyncio.create_task(delete_room(), name="delete-room"))

    timeline = await place_call(replace(echo, room="call-cut"), on_event=on_event)
    await deleting[0]
    assert timeline.was_ended_by_agent
    problem = verdict(timeline)
    assert problem is not None
    assert "hung up before the caller could say" in problem.problem


async def test_no_agent_of_that_name_is_said_so_and_the_room_is_gone(
    livekit_server: LiveKitServer,
) -> None:
    nobody = replace(plan(livekit_server), agent_name="nobody", join_timeout_seconds=0.5)
    with pytest.raises(errors.NoAgentError, match="no agent 'nobody' joined room") as caught:
        await place_call(nobody)
    assert "ready for calls" in caught.value.fix
    assert nobody.room not in await rooms(nobody)


async def test_a_wrong_secret_is_told_from_a_missing_agent(livekit_server: LiveKitServer) -> None:
    with pytest.raises(errors.LiveKitError, match="refuses the key 'voicefleet-lab'"):
        await place_call(replace(plan(livekit_server), api_secret="wrong" * 8))


async def test_a_server_that_is_not_there_is_told_from_a_missing_agent(
    livekit_server: LiveKitServer,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(errors.LiveKitError, match="cannot be reached at ws:"):
            await place_call(replace(plan(livekit_server), url=url))

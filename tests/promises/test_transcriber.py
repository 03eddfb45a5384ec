"""The transcriber in a room with two callers, through the stack of the demo."""

import asyncio

import aiohttp
import pytest
from livekit import api, rtc

from tests.promises import participant
from tests.promises.conftest import RunStack
from tests.promises.participant import Participant
from tests.promises.test_pod import logged
from tests.waiting import wait_until
from voicefleet.lab import conversation
from voicefleet.lab.line import Address
from voicefleet.lab.stack import Stack

pytestmark = pytest.mark.server

SCRIPT = conversation.load("transcriber")
BOOKS, GARDEN = (exchange.caller for exchange in SCRIPT.exchanges)


async def test_what_two_callers_say_at_once_is_written_under_the_name_of_each(
    run_stack: RunStack,
) -> None:
    async with (
        run_stack("transcriber", script="transcriber") as up,
        api.LiveKitAPI(up.url, up.api_key, up.api_secret) as livekit,
    ):
        await livekit.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(agent_name="transcriber", room="meeting")
        )
        async with participant.joined(address(up, "bob")) as bob:
            async with participant.joined(address(up, "anna")) as anna:
                await both_are_listened_to(up)
                began_at = asyncio.get_running_loop().time()
                await asyncio.gather(anna.say(GARDEN), bob.say(BOOKS))
                anna_seconds = asyncio.get_running_loop().time() - began_at
                # She hangs up on her last word, before the silence that ends a sentence.
            await wait_until(
                lambda: set(bob.written) == {("anna", GARDEN), ("bob", BOOKS)},
                because="both lines are written, each once",
            )
            await bob.say(GARDEN)
            await wait_until(
                lambda: bob.written[-1] == ("bob", GARDEN), because="bob is still listened to"
            )
            assert len(bob.written) == 3
            assert agents_tracks(bob) == []
            bob_seconds = asyncio.get_running_loop().time() - began_at
        await wait_until(
            lambda: nobody_is_in(livekit, "meeting"), because="it leaves with the last of them"
        )
        await wait_until(lambda: bool(logged(up, "call report")), because="the call is over")
        (report,) = (record["report"] for record in logged(up, "call report"))
    (heard,) = report["usage"]
    assert (heard["kind"], heard["provider"]) == ("stt", "Deepgram")
    # Deepgram is paid for each stream as long as it is open.
    assert heard["audio_seconds"] > anna_seconds + bob_seconds


def address(up: Stack, identity: str) -> Address:
    return Address(up.url, up.api_key, up.api_secret, "", room="meeting", identity=identity)


async def both_are_listened_to(up: Stack) -> None:
    async with aiohttp.ClientSession() as session:

        async def are_heard() -> bool:
            async with session.get(f"{up.providers_url}/lab/requests") as response:
                count: int = (await response.json())["counts"]["deepgram"]
                return count == 2

        await wait_until(are_heard, because="each has a recogniser")


async def nobody_is_in(livekit: api.LiveKitAPI, room: str) -> bool:
    try:
        answer = await livekit.room.list_participants(api.ListParticipantsRequest(room=room))
    except api.ServerError as error:
        if error.code != "not_found":
            raise
        return True
    return not answer.participants


def agents_tracks(one: Participant) -> list[str]:
    agents = [who for who in one.room.remote_participants.values() if is_agent(who)]
    assert agents
    return [sid for who in agents for sid in who.track_publications]


def is_agent(who: rtc.RemoteParticipant) -> bool:
    return who.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT

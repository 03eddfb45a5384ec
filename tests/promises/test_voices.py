"""One real call with each agent that hears, speaks or acts in a way of its own: through a
speech-to-speech model, with the tools of an MCP server, over the telephone.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from livekit import api

from tests.promises import participant
from tests.promises.conftest import RunStack
from tests.promises.test_pod import causes
from tests.waiting import wait_until
from voicefleet.agents.closing import APOLOGY
from voicefleet.agents.phone import repairs
from voicefleet.agents.phone.agent import VOICEMAIL
from voicefleet.lab import (
    caller,
    conversation,
    livekit_server,
    processes,
    stack,
    telephony,
    timeline,
)
from voicefleet.lab.caller import CallPlan
from voicefleet.lab.conversation import Conversation
from voicefleet.lab.line import Address
from voicefleet.lab.livekit_server import LiveKitServer
from voicefleet.lab.stack import Plan, Stack
from voicefleet.lab.telephony import Asked
from voicefleet.lab.timeline import Timeline

pytestmark = pytest.mark.server

ANNA, BUSY = "+15105550100", "+15105550111"
MACHINE = "You have reached Anna. Please leave a message after the tone."
# What the stand-in LLM makes of it, asked by LiveKit's own detection.
MACHINE_SCRIPT = f"""
agent = "phone"
greeting = ""
[[exchange]]
caller = "{MACHINE}"
agent = "Nothing."
tools = [{{ name = "save_prediction", arguments = {{ label = "machine-vm" }} }}]
"""
# Longer than LiveKit's detection waits for a sound.
RINGS_SECONDS = 5.5
Call = api.CreateSIPParticipantRequest


async def call(up: Stack, script: Conversation) -> Timeline:
    plan = CallPlan(
        *(up.url, up.api_key, up.api_secret, up.agent_name, script),
        join_timeout_seconds=30.0,
        answer_timeout_seconds=30.0,
    )
    return await caller.place_call(plan)


@pytest.mark.parametrize("name", ["realtime", "tools", "phone"])
async def test_a_call_is_understood_by_both_sides(run_stack: RunStack, name: str) -> None:
    script = conversation.load(name)
    async with run_stack(name, script=name) as up:
        done = await call(up, script)
    assert timeline.verdict(done) is None, done.to_json()
    called = [tool for turn in done.turns for tool in turn.tools]
    assert called == [tool.name for e in script.exchanges for tool in e.tools]


async def test_a_realtime_model_that_dies_mid_sentence_says_it_again(run_stack: RunStack) -> None:
    script = conversation.load("realtime")
    cut_once = ("openai-realtime:fault=cut,fault_limit=1",)
    async with run_stack("realtime", script="realtime", behaviour=cut_once) as up:
        done = await call(up, script)
    greeting, *others = done.turns
    assert greeting.heard.endswith(script.greeting)
    assert all(turn.is_understood_by_agent and turn.is_understood_by_caller for turn in others)


async def test_a_realtime_model_that_is_out_of_reach_ends_in_an_apology(
    run_stack: RunStack,
) -> None:
    down = ("openai-realtime:fault=server_error",)
    async with run_stack("realtime", script="realtime", behaviour=down) as up:
        done = await call(up, Conversation("realtime", APOLOGY, ()))
        # Not one that the agent ended as it liked: the service levels count this call as failed.
        await wait_until(lambda: causes(up) == ["error"], because="the call is over, for an error")
    assert done.turns[0].is_understood_by_caller, done.to_json()
    assert done.was_ended_by_agent


async def test_a_customer_is_called_and_a_machine_that_answers_is_left_a_message(
    tmp_path: Path, livekit_server_binary: Path
) -> None:
    script = tmp_path / "machine.toml"
    script.write_text(MACHINE_SCRIPT)
    async with (
        livekit_server.run(livekit_server_binary) as livekit,
        asyncio.TaskGroup() as tasks,
    ):
        customers = Customers(livekit, tasks)
        serving = telephony.serving(
            livekit.api_key, livekit.api_secret, customers.ring, livekit_url=livekit.url
        )
        async with serving as bridge:
            extra = (("LIVEKIT_URL", bridge.url), ("VOICEFLEET_PHONE_TRUNK_ID", "ST_1"))
            plan = Plan("phone", str(script), tmp_path, livekit_server_binary, extra=extra)
            async with (
                worker_beside(plan, livekit),
                api.LiveKitAPI(livekit.url, livekit.api_key, livekit.api_secret) as client,
            ):
                await dispatch(client, "busy", BUSY)
                await wait_until(lambda: is_over(client, "busy"), because="nobody is left to wait")
                await dispatch(client, "machine", ANNA)
                message = VOICEMAIL.format(status=repairs.status("4271"))
                await wait_until(
                    lambda: [text for _, text in customers.written if text == message] != [],
                    because="the message is left after the greeting",
                    timeout_seconds=40,
                )
                await wait_until(lambda: is_over(client, "machine"), because="it hangs up itself")
    assert [wish.sip_call_to for wish in bridge.asked if isinstance(wish, Call)] == [BUSY, ANNA]


class Customers:
    """Whoever is called: one line is busy, at the other a machine answers and takes a message."""

    def __init__(self, livekit: LiveKitServer, tasks: asyncio.TaskGroup) -> None:
        self._livekit, self._tasks = livekit, tasks
        self.written: list[tuple[str, str]] = []

    async def ring(self, wish: Asked) -> int:
        assert isinstance(wish, Call)
        if wish.sip_call_to == BUSY:
            return 486
        await asyncio.sleep(RINGS_SECONDS)
        answered = asyncio.Event()
        self._tasks.create_task(self._machine(wish, answered), name="answering machine")
        await answered.wait()
        return 200

    async def _machine(self, wish: Call, answered: asyncio.Event) -> None:
        livekit = self._livekit
        address = Address(
            *(livekit.url, livekit.api_key, livekit.api_secret, "", wish.room_name),
            identity=wish.participant_identity,
            telephone=wish.sip_call_to,
        )
        async with participant.joined(address) as machine:
            gone = asyncio.Event()
            machine.room.on("disconnected", lambda _: gone.set())
            machine.written = self.written
            answered.set()
            await machine.say(MACHINE)
            await asyncio.wait_for(gone.wait(), 60)


@asynccontextmanager
async def worker_beside(plan: Plan, livekit: LiveKitServer) -> AsyncIterator[None]:
    """The stand-ins and a worker, for a livekit-server that runs already."""
    providers, url = await stack.start_providers(plan.folder, plan.conversation)
    worker = processes.start(
        "worker",
        processes.python("voicefleet", "start"),
        environment=stack.worker_environment(plan, livekit, url),
        folder=plan.folder,
    )
    try:
        await processes.wait_for_line(
            worker, lambda line: '"registered worker"' in line, within_seconds=90
        )
        yield
    finally:
        await processes.stop(worker)
        await processes.stop(providers)


async def dispatch(client: api.LiveKitAPI, room: str, number: str) -> None:
    """Ask for a call as a system would that knows of finished repairs."""
    order = json.dumps({"phone_number": number, "repair": "4271"})
    await client.agent_dispatch.create_dispatch(
        api.CreateAgentDispatchRequest(agent_name="phone", room=room, metadata=order)
    )


async def is_over(client: api.LiveKitAPI, room: str) -> bool:
    rooms = await client.room.list_rooms(api.ListRoomsRequest(names=[room]))
    return not rooms.rooms

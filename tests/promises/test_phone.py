"""The telephone as it is: callers who hang up while it rings, and people who are called."""

import asyncio
from pathlib import Path

import pytest
from livekit import api

from tests.promises import participant
from tests.promises.conftest import RunStack
from tests.promises.participant import Participant
from tests.promises.test_pod import logged, worker_of
from tests.promises.test_voices import dispatch, worker_beside
from tests.waiting import wait_until
from voicefleet.agents.phone import repairs
from voicefleet.agents.phone.agent import CALLING
from voicefleet.lab import (
    caller,
    conversation,
    livekit_server,
    otlp_receiver,
    telephony,
    timeline,
)
from voicefleet.lab.caller import CallPlan
from voicefleet.lab.line import Address
from voicefleet.lab.livekit_server import LiveKitServer
from voicefleet.lab.stack import Plan
from voicefleet.lab.telephony import Asked

pytestmark = pytest.mark.server

ANNA, DESK = "+15105550100", "+15105550199"
HELLO = "Hello, this is Anna Smith."
WHO = "Who is speaking, please?"
# What the LLM answers to the callee's turn, where LiveKit asks it.
UNWANTED = "I can only help with repairs."
TRANSFER_SCRIPT = """
agent = "phone"
telephone = "+15105550100"
greeting = "Hello, this is the bicycle workshop. What can I do for you?"
[[exchange]]
caller = "I would like to talk to a person, please."
tools = [{ name = "transfer_to_desk" }]
agent = "I am connecting you. One moment, please."
"""
# Longer than detection needs to tell a person, and shorter than the message.
PAUSE_SECONDS = 2.5
CALLEE_SCRIPT = f"""
agent = "phone"
greeting = ""
[[exchange]]
caller = "{HELLO}"
agent = "{UNWANTED}"
tools = [{{ name = "save_prediction", arguments = {{ label = "human" }} }}]
[[exchange]]
caller = "{WHO}"
agent = "{UNWANTED}"
"""


async def test_a_caller_who_hangs_up_before_the_agent_has_joined_frees_the_slot(
    run_stack: RunStack,
) -> None:
    """The slot was taken for 20 s, until LiveKit closed the empty room: the agent waited without a
    bound for a caller whom it had not even seen leaving. Then it failed with a traceback, and the
    call counted as one whose room was closed.
    """
    async with run_stack("phone", script="phone", VOICEFLEET_SLOTS="1") as up:
        at = (up.url, up.api_key, up.api_secret)
        async with telephony.incoming(*at, agent_name="phone", room="early", number=ANNA):
            pass
        await wait_until(
            lambda: logged(up, "call over") != [],
            because="the slot is free again",
            timeout_seconds=5.0,
        )
        (over,) = logged(up, "call over")
        assert over["outcome"] == "completed"
        assert over["cause"] == "caller_left"
        assert "Traceback" not in worker_of(up).log.read_text()


@pytest.mark.parametrize("says", [[HELLO], [HELLO, WHO]], ids=["answers", "goes on"])
async def test_a_person_who_is_called_hears_the_message_to_its_end(
    tmp_path: Path, livekit_server_binary: Path, says: list[str]
) -> None:
    """One second was heard of eight. Detection tells a person half a second after the first words,
    when LiveKit still waits for the end of that turn; it then cut the message off to answer it.
    """
    script = tmp_path / "callee.toml"
    script.write_text(CALLEE_SCRIPT)
    message = CALLING.format(status=repairs.status("4271"))
    async with (
        livekit_server.run(livekit_server_binary) as livekit,
        asyncio.TaskGroup() as tasks,
    ):
        anna = Callee(livekit, tasks, says)
        at = (livekit.api_key, livekit.api_secret)
        async with telephony.serving(*at, anna.ring, livekit_url=livekit.url) as bridge:
            extra = (("LIVEKIT_URL", bridge.url), ("VOICEFLEET_PHONE_TRUNK_ID", "ST_1"))
            plan = Plan("phone", str(script), tmp_path, livekit_server_binary, extra=extra)
            async with worker_beside(plan, livekit), api.LiveKitAPI(livekit.url, *at) as client:
                await dispatch(client, "anna", ANNA)
                await wait_until(
                    lambda: anna.read() != [],
                    because="the agent has said something to its end",
                    timeout_seconds=40,
                )
                first = anna.read()[0]
                anna.hangs_up.set()
    assert first == message


async def test_a_call_that_is_handed_over_counts_as_one(
    tmp_path: Path, livekit_server_binary: Path
) -> None:
    """The caller talked with the desk, and log and trace told of a transfer that had failed."""
    script = tmp_path / "transfer.toml"
    script.write_text(TRANSFER_SCRIPT)

    async def picks_up(_: Asked) -> int:
        return 200

    async with livekit_server.run(livekit_server_binary) as livekit:
        at = (livekit.api_key, livekit.api_secret)
        async with (
            telephony.serving(*at, picks_up, livekit_url=livekit.url) as bridge,
            otlp_receiver.listening() as collector,
        ):
            extra = (
                ("LIVEKIT_URL", bridge.url),
                ("VOICEFLEET_PHONE_DESK_NUMBER", DESK),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url),
            )
            plan = Plan("phone", str(script), tmp_path, livekit_server_binary, extra=extra)
            async with worker_beside(plan, livekit):
                asks = CallPlan(livekit.url, *at, "phone", conversation.load(str(script)))
                done = await caller.place_call(asks)
                root = await collector.wait_for(lambda s: s.name == "call", within_seconds=10)
    assert timeline.verdict(done) is None, done.to_json()
    (wish,) = bridge.asked
    assert isinstance(wish, api.TransferSIPParticipantRequest)
    assert wish.transfer_to == f"tel:{DESK}"
    (tool,) = [s for s in collector.trace(root.trace_id) if s.name == "function_tool"]
    assert tool.attributes["lk.function_tool.is_error"] is False
    assert root.attributes["voicefleet.outcome"] == "completed"
    log = (tmp_path / "worker.log").read_text()
    assert '"handed over"' in log
    assert '"transfer failed"' not in log


class Callee:
    """A person who takes the call, and stays until told to hang up."""

    def __init__(self, livekit: LiveKitServer, tasks: asyncio.TaskGroup, says: list[str]) -> None:
        self._livekit, self._tasks, self._says = livekit, tasks, says
        self._telephone: Participant | None = None
        self.hangs_up = asyncio.Event()

    def read(self) -> list[str]:
        """What the agent has said, as it was shown."""
        written = self._telephone.written if self._telephone else []
        return [text for _, text in written if text not in self._says]

    async def ring(self, wish: Asked) -> int:
        assert isinstance(wish, api.CreateSIPParticipantRequest)
        taken = asyncio.Event()
        self._tasks.create_task(self._talk(wish, taken), name="callee")
        await taken.wait()
        return 200

    async def _talk(self, wish: api.CreateSIPParticipantRequest, taken: asyncio.Event) -> None:
        livekit = self._livekit
        address = Address(
            *(livekit.url, livekit.api_key, livekit.api_secret, "", wish.room_name),
            identity=wish.participant_identity,
            telephone=wish.sip_call_to,
        )
        async with participant.joined(address) as self._telephone:
            taken.set()
            for sentence in self._says:
                await self._telephone.say(sentence)
                await asyncio.sleep(PAUSE_SECONDS)
            await asyncio.wait_for(self.hangs_up.wait(), 60)

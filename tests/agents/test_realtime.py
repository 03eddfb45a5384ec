"""The speech-to-speech agent, through LiveKit's own plugin and the stand-in for the model: what it
looks up, and what becomes of a line that is lost.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from livekit.agents import NOT_GIVEN, AgentSession, APIConnectOptions
from livekit.agents.voice.run_result import RunResult
from livekit.plugins.openai import realtime

from tests.agents import text_call
from tests.agents.loudspeaker import Loudspeaker, Voice
from voicefleet.agents import closing
from voicefleet.agents.assistant import library
from voicefleet.agents.closing import APOLOGY, FORGIVEN_FAILURES
from voicefleet.agents.realtime.agent import RealtimeAssistant
from voicefleet.lab import conversation, providers
from voicefleet.lab.behaviour import Behaviour, Behaviours, Fault
from voicefleet.lab.conversation import Conversation, Exchange, ToolCall

pytestmark = pytest.mark.slow

SCRIPT = conversation.load("realtime")


@dataclass(frozen=True, slots=True)
class RealtimeCall:
    """A call in text to a model that speaks; `speaker` plays what it says, at once."""

    session: AgentSession[None]
    behaviours: Behaviours
    speaker: Loudspeaker
    voice: Voice

    @property
    def spoken(self) -> list[str]:
        return text_call.spoken(self.session.history.items)


@asynccontextmanager
async def called(
    script: Conversation = SCRIPT, *, fault: Behaviour | None = None, has_voice: bool = True
) -> AsyncIterator[RealtimeCall]:
    """From before the greeting: a line that is bad from the beginning is a case as well."""
    behaviours = Behaviours({"openai-realtime": fault} if fault else None)
    app = providers.application(script, behaviours=behaviours)
    async with providers.serving(app) as port, aiohttp.ClientSession() as http:
        model = realtime.RealtimeModel(
            base_url=f"http://127.0.0.1:{port}/openai/v1",
            api_key="any",
            http_session=http,
            conn_options=APIConnectOptions(max_retry=1, retry_interval=0.05, timeout=2.0),
        )
        voice, speaker = Voice(), Loudspeaker()
        speaker.can_end.set()
        spare = voice if has_voice else NOT_GIVEN
        async with AgentSession[None](llm=model, tts=spare, vad=None) as session:
            session.output.audio = speaker
            closing.watch(session)
            yield RealtimeCall(session, behaviours, speaker, voice)


async def test_the_demo_call_is_one_that_this_agent_answers() -> None:
    async with called() as call:
        await call.session.start(RealtimeAssistant(), capture_run=True)
        for exchange in SCRIPT.exchanges:
            await call.session.run(user_input=exchange.caller)
        assert call.spoken == [SCRIPT.greeting, *(e.agent for e in SCRIPT.exchanges)]
        assert text_call.tool_outputs(call.session.history) == [library.opening_hours("saturday")]


async def test_wrong_arguments_are_answered_with_advice_and_the_call_goes_on() -> None:
    wrong = {
        "The first question.": (ToolCall("opening_hours", {"day": "someday"}), "'saturday'"),
        "Another day.": (ToolCall("opening_hours", {"day": {"$ne": 1}}), "'saturday'"),
        "No day at all.": (ToolCall("opening_hours", {}), "day"),
        "Do you have that?": (ToolCall("find_book", {"title": "Ulysses"}), "no book called"),
        "And something long?": (ToolCall("find_book", {"title": "x" * 9999}), "too long"),
    }
    exchanges = tuple(Exchange(said, "Which?", (tool,)) for said, (tool, _) in wrong.items())
    async with called(Conversation("realtime", SCRIPT.greeting, exchanges)) as call:
        await call.session.start(RealtimeAssistant(), capture_run=True)
        for said, (_, advice) in wrong.items():
            turn: RunResult[None] = await call.session.run(user_input=said)
            output = turn.expect.next_event(type="function_call_output").event().item
            assert output.is_error
            assert advice in output.output
        assert call.spoken == [SCRIPT.greeting, *["Which?"] * len(wrong)]


async def test_an_answer_that_breaks_off_is_said_again() -> None:
    cut_once = Behaviour(fault=Fault.CUT, fault_limit=1)
    async with called(fault=cut_once) as call:
        greeted = asyncio.Event()

        def on_item(_: object) -> None:
            if call.spoken[-1:] == [SCRIPT.greeting]:
                greeted.set()

        call.session.on("conversation_item_added", on_item)
        await call.session.start(RealtimeAssistant())
        await asyncio.wait_for(greeted.wait(), 10)
        await call.session.run(user_input=SCRIPT.exchanges[0].caller)
        assert call.spoken[-1] == SCRIPT.exchanges[0].agent
        assert not call.voice.texts


class Job:
    """What is done to the job of a call: `ended` is the reason."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def add_shutdown_callback(self, _: object) -> None:
        """The room is deleted there."""

    def shutdown(self, reason: str) -> None:
        self.ended.set_result(reason)


@pytest.fixture
async def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    # LiveKit never looks at the error of a close that fails, and asyncio would complain of that.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    job = Job()
    monkeypatch.setattr(closing, "get_job_context", lambda required: job)
    return job


async def test_answers_that_always_break_off_end_in_an_apology(job: Job) -> None:
    async with called(fault=Behaviour(fault=Fault.CUT)) as call:
        await call.session.start(RealtimeAssistant())
        await asyncio.wait_for(job.ended, 30)
        assert " ".join(call.voice.texts) == APOLOGY
        assert call.behaviours.report()["counts"]["openai-realtime"] == FORGIVEN_FAILURES + 2


@pytest.mark.parametrize("has_voice", [True, False])
async def test_a_model_that_is_out_of_reach_ends_the_job_after_an_apology(
    job: Job, has_voice: bool
) -> None:
    down = Behaviour(fault=Fault.SERVER_ERROR)
    async with called(fault=down, has_voice=has_voice) as call:
        await call.session.start(RealtimeAssistant())
        await asyncio.wait_for(job.ended, 15)
        assert " ".join(call.voice.texts) == (APOLOGY if has_voice else "")

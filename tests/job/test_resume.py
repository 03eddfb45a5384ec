"""A call that goes on in another process: real sessions, in text, before and after a death."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import api
from livekit.agents import Agent, AgentSession, AgentTask, function_tool
from livekit.agents.llm import ChatContext, ChatMessage, ChatRole, FunctionCall
from livekit.agents.voice.run_result import RunResult
from livekit.api.sip_service import SipService

from tests.agents import text_call
from tests.agents.scripted_llm import Call, Reply, ScriptedLLM
from tests.agents.test_front_desk import CONFIRM, NOW, TEN, propose
from tests.agents.text_call import TextCall
from tests.job import test_entrypoint
from tests.waiting import wait_until
from voicefleet.agents.front_desk.agent import FrontDesk
from voicefleet.agents.front_desk.calendar import SqliteCalendar
from voicefleet.agents.front_desk.notes import Notes
from voicefleet.agents.interview.agent import Interviewer
from voicefleet.agents.interview.scorecard import Scorecard
from voicefleet.agents.triage.agent import Billing, Reception
from voicefleet.agents.triage.case import Case
from voicefleet.conversation import record
from voicefleet.conversation.memory import Conversation
from voicefleet.conversation.remembered import UNKNOWN_RESULT, Remembered
from voicefleet.job import call as call_module
from voicefleet.job import resume, rooms
from voicefleet.job.prewarm import AGENT_FILE
from voicefleet.job.resume import Resumption
from voicefleet.livekit_compat import agents as livekit_agents
from voicefleet.livekit_compat import session as livekit_session
from voicefleet.telemetry.messages import Kept

GREETING = "Good day."
APOLOGY = "Sorry for that."

pytestmark = pytest.mark.usefixtures("remembering")


@pytest.fixture
def remembering() -> None:
    livekit_agents.remember()


class Desk(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")
        self.entered = 0

    async def on_enter(self) -> None:
        self.entered += 1
        self.session.say(GREETING)

    @function_tool
    async def price(self, flower: str) -> str:
        """The price of one flower."""
        return f"one {flower} is two dollars"


@asynccontextmanager
async def first_job(
    memory: Conversation, agent: Agent, *replies: Reply, **options: Any
) -> AsyncIterator[TextCall]:
    """The job that is going to die: what it tells is remembered."""
    recorder = record.Recorder(memory.keep)
    stop = livekit_session.watch_starts(recorder.listen)
    try:
        async with text_call.answered_by(agent, *replies, **options) as call:
            yield call
    finally:
        stop()


@asynccontextmanager
async def next_job(
    memory: Conversation, agent: Agent, *replies: Reply, seconds: float = 0.4, **options: Any
) -> AsyncIterator[TextCall]:
    """The job that goes on, so many seconds after the death."""
    goes_on = asyncio.Event()
    resumption = Resumption(Remembered(tuple(memory), seconds), APOLOGY, goes_on.set)
    stop = livekit_session.watch_starts(lambda _: None, resumption.prepare)
    model = ScriptedLLM(*replies)
    in_text: dict[str, Any] = {"vad": None, "turn_handling": {"turn_detection": None}}
    in_text["conn_options"] = text_call.NO_RETRY
    try:
        async with AgentSession[Any](llm=model, **in_text, **options) as session:
            with resumption.opening():
                await session.start(agent)
            await asyncio.wait_for(goes_on.wait(), 5)
            await asyncio.sleep(0.1)
            yield TextCall(session, model, RunResult(output_type=None))
    finally:
        stop()


def told(call: TextCall, number: int = 0) -> list[str]:
    """What the LLM was told in a request, without the agent's own instructions."""
    return [message.text_content or "" for message in call.model.requests[number].messages()[1:]]


async def test_a_call_in_which_the_agent_spoke_last_goes_on_without_a_word() -> None:
    memory, desk = Conversation(), Desk()
    async with first_job(memory, Desk(), "Two dollars.") as call:
        await call.say("How much is a rose?")
    async with next_job(memory, desk, "Until six.") as call:
        assert call.spoken == [GREETING, "Two dollars."]
        assert desk.entered == 1
        await call.say("How long are you open?")
        assert told(call)[:3] == [GREETING, "How much is a rose?", "Two dollars."]
        assert call.spoken[-1] == "Until six."


async def test_the_last_question_is_answered_and_the_greeting_not_said_again() -> None:
    memory = Conversation()
    async with first_job(memory, Desk()):
        pass
    memory.keep(_said("How much is a rose?", "user"))
    async with next_job(memory, Desk(), "Two dollars.") as call:
        assert call.spoken == [GREETING, "Two dollars."]
        assert "How much is a rose?" in told(call)


class Hasty(Desk):
    """Greets beside what else it has to do, as one that asks a calendar meanwhile."""

    async def on_enter(self) -> None:
        self.greeting = asyncio.create_task(self._greet())

    async def _greet(self) -> None:
        await asyncio.sleep(0)
        await super().on_enter()


async def test_a_greeting_that_is_made_in_a_task_is_not_said_again_either() -> None:
    memory = Conversation()
    async with first_job(memory, Hasty()) as call:
        await asyncio.sleep(0.1)
        assert call.spoken == [GREETING]
    async with next_job(memory, Hasty(), "Until six.") as call:
        assert call.spoken == [GREETING]
        await call.say("How long are you open?")
        assert call.spoken == [GREETING, "Until six."]


async def test_an_agent_that_has_the_call_a_second_time_enters_as_its_file_says() -> None:
    """It apologised again, minutes later, and its own first words were held back."""
    memory, desk = Conversation(), Desk()
    async with first_job(memory, Desk()):
        pass
    async with next_job(memory, desk, seconds=3.0) as call:
        call.session.update_agent(Agent(instructions="Another."))
        await asyncio.sleep(0.1)
        call.session.update_agent(desk)
        await wait_until(lambda: len(call.spoken) == 3, because="it greets")
        assert call.spoken == [GREETING, APOLOGY, GREETING]


async def test_what_the_file_tells_its_agent_beforehand_is_told_again() -> None:
    """LiveKit's way to give it the caller's name."""

    def knowing() -> Agent:
        known = ChatContext.empty()
        known.add_message(role="system", content="The caller is Ada.")
        return Agent(instructions="Be brief.", chat_ctx=known)

    memory = Conversation()
    async with first_job(memory, knowing(), "Hello.") as call:
        await call.say("Good day.")
    async with next_job(memory, knowing(), "Ada.") as call:
        await call.say("Who am I?")
        assert "The caller is Ada." in told(call)


async def test_only_a_pause_that_is_noticed_is_apologised_for() -> None:
    memory = Conversation()
    async with first_job(memory, Desk()):
        pass
    async with next_job(memory, Desk(), seconds=3.0) as call:
        assert call.spoken == [GREETING, APOLOGY]


async def test_a_call_that_dies_before_its_first_word_begins_anew() -> None:
    async with next_job(Conversation(), Desk()) as call:
        assert call.spoken == [GREETING]


async def test_a_tool_without_a_result_is_told_as_one_that_may_be_done() -> None:
    memory = Conversation()
    async with first_job(memory, Desk()):
        pass
    begun = FunctionCall(call_id="c1", name="price", arguments='{"flower": "rose"}')
    memory.keep(Kept(kind="tool", key="c1", data=record.tool_as_json(begun)))
    async with next_job(memory, Desk(), "Let me look.") as call:
        assert text_call.tool_outputs(call.model.requests[0]) == [UNKNOWN_RESULT]


async def test_the_desk_that_had_the_call_has_it_again_with_what_was_found_out() -> None:
    memory = Conversation()
    replies = (Call("to_billing", {"reason": "a wrong bill"}), "This is billing. Which bill?")
    async with first_job(memory, Reception(case := Case()), *replies, userdata=case) as call:
        await call.say("My bill is wrong.")
    async with next_job(memory, Reception(again := Case()), "Yes.", userdata=again) as call:
        assert type(call.session.current_agent) is Billing
        assert again.reasons == ["to billing: a wrong bill"]
        await call.say("Are you billing?")
        assert "My bill is wrong." in told(call)


async def test_a_scorecard_that_is_made_anew_with_each_answer_comes_back() -> None:
    memory = Conversation()
    async with first_job(
        memory, Interviewer(), Call("begin_interview"), "First question.", userdata=Scorecard()
    ) as call:
        await call.say("I am ready.")
    async with next_job(memory, Interviewer(), userdata=Scorecard()) as call:
        assert call.session.userdata == Scorecard(asked_count=1)


async def test_what_was_read_back_before_is_booked_once(tmp_path: Path) -> None:
    memory, store = Conversation(), SqliteCalendar(tmp_path / "calendar.sqlite3")
    notes = Notes(store, now=lambda: NOW)
    async with first_job(memory, FrontDesk(notes), propose(), userdata=notes) as call:
        await call.say("Tuesday at ten, please. Anna Smith.")
    again = Notes(store, now=lambda: NOW)
    replies = (CONFIRM, "You are booked.", CONFIRM, "It is done already.")
    async with next_job(memory, FrontDesk(again), *replies, userdata=again) as call:
        await call.say("Yes.")
        assert await store.taken(TEN.date()) == {TEN}
        await call.say("Yes, book it.")
        assert await store.taken(TEN.date()) == {TEN}
        assert len(again.appointments) == 1


class Name(AgentTask[str]):
    def __init__(self) -> None:
        super().__init__(instructions="Find out the name.")

    async def on_enter(self) -> None:
        self.session.say("What is your name?")

    @function_tool
    async def got(self, name: str) -> None:
        """The caller has said their name."""
        self.complete(name)


class Asks(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")

    async def on_enter(self) -> None:
        self.session.say(f"Good day, {await Name()}.")


async def test_a_task_that_was_on_begins_again_and_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Conversation()
    async with first_job(memory, Asks()) as call:
        assert call.spoken == ["What is your name?"]
        at_its_death = Conversation()
        for piece in memory:
            at_its_death.keep(piece)
    async with next_job(at_its_death, Asks(), Call("got", {"name": "Ada"})) as call:
        await call.say("Ada.")
        assert isinstance(call.session.current_agent, Asks)
    assert "a task of the agent begins again" in caplog.text


class WithLock(Agent):
    def __init__(self, lock: object) -> None:
        super().__init__(instructions="Be brief.", id="with_lock")


async def test_an_agent_of_what_is_no_data_is_named_and_the_files_own_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Conversation()
    async with first_job(memory, WithLock(object())):
        pass
    async with next_job(memory, Desk()) as call:
        assert isinstance(call.session.current_agent, Desk)
    # It has said nothing yet, so there is no conversation to go on with.
    memory.keep(_said("Hello."))
    async with next_job(memory, Desk()) as call:
        assert isinstance(call.session.current_agent, Desk)
    assert "the agent that had the call cannot be made again" in caplog.text


def _said(words: str, role: ChatRole = "assistant") -> Kept:
    kept = list[Kept]()
    record.Recorder(kept.append).item(ChatMessage(role=role, content=[words]))
    return kept[0]


class Room:
    def __init__(self, *answers: bool | None) -> None:
        self.answers = list(answers)

    async def has_caller(self, _: object) -> bool | None:
        return self.answers.pop(0)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((True,), True),
        ((False,), False),
        ((None, None, True), True),
        # LiveKit is back before the caller is.
        ((None, False, False, True), True),
    ],
)
async def test_livekit_is_waited_for_until_it_says_whether_the_caller_is_there(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[bool | None, ...], expected: bool
) -> None:
    monkeypatch.setattr(resume, "ASK_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(rooms, "has_caller", Room(*answers).has_caller)
    assert await resume.is_caller_there(SimpleNamespace()) is expected  # type: ignore[arg-type]


async def test_who_is_in_the_room_is_not_dialled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entrypoint of a file that dials runs again, and would have rung them up a second time."""
    dialled = list[str]()

    async def dial(_: object, create: api.CreateSIPParticipantRequest) -> api.SIPParticipantInfo:
        dialled.append(create.participant_identity)
        return api.SIPParticipantInfo()

    async def participants(_: object) -> list[api.ParticipantInfo]:
        known = {"sip.callID": "SCL", "sip.phoneNumber": "+1510"}
        return [api.ParticipantInfo(sid="PA_1", identity="anna", attributes=known)]

    monkeypatch.setattr(SipService, "create_sip_participant", dial)
    monkeypatch.setattr(rooms, "participants", participants)
    ctx: Any = SimpleNamespace(job=SimpleNamespace(room=SimpleNamespace(name="call")))
    resume.dial_nobody_again(ctx)
    place: Callable[..., Any] = SipService.create_sip_participant
    for room, who in (("call", "anna"), ("call", "bert"), ("other", "anna")):
        wish = api.CreateSIPParticipantRequest(room_name=room, participant_identity=who)
        found = await place(None, create=wish)
        if (room, who) == ("call", "anna"):
            assert (found.participant_id, found.sip_call_id) == ("PA_1", "SCL")
    assert dialled == ["bert", "anna"]
    # A file that gives no identity is known by the number.
    unnamed = api.CreateSIPParticipantRequest(room_name="call", sip_call_to="+1510")
    assert (await place(None, unnamed)).participant_identity == "anna"


class Job(test_entrypoint.Call):
    """The second job of its call, of a file whose entrypoint and hooks are noted."""

    def __init__(self, *pieces: Kept, is_last: bool = False) -> None:
        super().__init__()
        self.ran = list[Any]()
        self.job.id = "AJ_1.r2"
        self.pod.conversation = self._conversation  # type: ignore[attr-defined]
        self._remembered = Remembered(pieces, 0.4, is_last)
        self.hosted: Any = self.proc.userdata[AGENT_FILE]
        self.hosted.entrypoint = self._entrypoint

    async def runs(self) -> list[Any]:
        context: Any = self
        await call_module.answer(context)
        await asyncio.gather(*(callback("user requested") for callback in self.callbacks))
        return self.ran

    async def _conversation(self) -> Remembered:
        return self._remembered

    async def _entrypoint(self, ctx: Any) -> None:
        self.ran.append(("entrypoint", ctx.is_resumed))


@pytest.fixture
def caller_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "has_caller", Room(True, True).has_caller)


@pytest.mark.usefixtures("clean_environment", "caller_is_there")
async def test_the_entrypoint_knows_that_its_call_goes_on() -> None:
    assert await Job(_said("Hello.")).runs() == [("entrypoint", True)]


@pytest.mark.usefixtures("clean_environment", "caller_is_there")
async def test_a_file_that_brings_its_call_back_by_itself_is_given_what_it_has_saved() -> None:
    job = Job(_said("Hello."), Kept(kind="saved", data='{"step": 3}'))

    async def resume_call(ctx: Any, saved: Any) -> None:
        job.ran.append((ctx.is_resumed, saved))

    job.hosted.resume_call = resume_call
    assert await job.runs() == [(True, {"step": 3})]


@pytest.mark.usefixtures("clean_environment")
async def test_a_caller_who_has_gone_meanwhile_is_not_called_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rooms, "has_caller", Room(False, False).has_caller)
    job = Job(_said("Hello."))
    assert await job.runs() == []
    assert job.ended_for == ["caller_left"]


async def test_what_a_file_saves_is_told_where_it_changes() -> None:
    memory = Conversation()
    recorder = record.Recorder(memory.keep, lambda session: {"items": len(session.history.items)})
    stop = livekit_session.watch_starts(recorder.listen)
    try:
        async with text_call.answered_by(Desk(), "Two dollars.") as call:
            await call.say("How much is a rose?")
            expected = {"items": len(call.session.history.items)}
    finally:
        stop()
    assert Remembered(tuple(memory), 0.0).one("saved") == expected

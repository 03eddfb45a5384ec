"""How the desks of the service line hand a call to each other, and what goes with it."""

from collections.abc import Sequence

import pytest
from livekit.agents import Agent, APIConnectionError
from livekit.agents.voice.run_result import RunResult

from tests.agents import text_call
from tests.agents.loudspeaker import Loudspeaker, Voice
from tests.agents.scripted_llm import Call, Reply, ScriptedLLM
from tests.agents.text_call import TextCall
from voicefleet.agents import closing
from voicefleet.agents.triage.agent import (
    GREETING,
    PROMPT,
    VOICES,
    Billing,
    Reception,
    Support,
    Technical,
)
from voicefleet.agents.triage.case import MOST_HANDOVERS_IN_A_TURN, Case

BILL = Call("look_up_bill", {"number": "4 2 1"})
DIED = APIConnectionError("the provider is down", retryable=False)


def to(desk: str, reason: str = "something else") -> Call:
    return Call(f"to_{desk}", {"reason": reason})


def told(call: TextCall) -> str:
    """The instructions of the LLM's last request."""
    return call.model.requests[-1].messages()[0].text_content or ""


def desk_of(call: TextCall) -> type[Agent]:
    return type(call.session.current_agent)


def output(turn: RunResult[None]) -> tuple[bool, str]:
    """Of the first tool: whether it refused, and what it said."""
    item = turn.expect.next_event(type="function_call_output").event().item
    return item.is_error, item.output


async def test_reception_greets_and_the_desk_that_takes_over_speaks_itself() -> None:
    case = Case()
    replies: tuple[Reply, ...] = (to("billing", "a wrong bill"), "This is billing. Which bill?")
    async with text_call.answered_by(Reception(case), *replies, userdata=case) as call:
        assert call.spoken == [GREETING]
        turn = await call.say("My bill is wrong.")
        turn.expect.contains_agent_handoff(new_agent_type=Billing)
        assert call.spoken == [GREETING, "This is billing. Which bill?"]
        assert desk_of(call) is Billing


async def test_what_was_said_and_found_out_goes_with_the_call_from_desk_to_desk() -> None:
    case = Case()
    replies: tuple[Reply, ...] = (
        *(to("billing", "a wrong bill"), "Which bill?", BILL, "It is paid."),
        *(to("reception", "the line is slow"), to("technical", "the line is slow"), "Restart it."),
    )
    async with text_call.answered_by(Reception(case), *replies, userdata=case) as call:
        await call.say("My bill is wrong.")
        await call.say("Four two one.")
        turn = await call.say("And my line is slow.")
        turn.expect.contains_agent_handoff(new_agent_type=Reception)
        turn.expect.contains_agent_handoff(new_agent_type=Technical)
        said = [m.text_content for m in call.model.requests[-1].messages() if m.role == "user"]
        assert said == ["My bill is wrong.", "Four two one.", "And my line is slow."]
        for known in ("Bill 421: forty dollars, paid.", "to billing: a wrong bill", "line is slow"):
            assert known in told(call)
        # Each desk is told what it is, and nothing of what another is.
        assert PROMPT in told(call)
        assert "You are the technical desk." in told(call)
        assert "You are billing." not in told(call)
        assert call.spoken == [GREETING, "Which bill?", "It is paid.", "Restart it."]


@pytest.mark.parametrize(
    ("desk", "agent", "tool", "answer"),
    [
        ("billing", Billing, BILL, "Bill 421: forty dollars, paid."),
        ("support", Support, Call("open_ticket", {"summary": " rude\nman "}), "ticket 1"),
        ("technical", Technical, Call("check_line", {"customer_number": "300"}), "is down"),
    ],
)
async def test_every_desk_does_its_own_and_hands_back_what_is_not(
    desk: str, agent: type[Agent], tool: Call, answer: str
) -> None:
    case = Case()
    back: tuple[Reply, ...] = (to("reception", "a wish"), "What else can I do?")
    replies = (to(desk), "Here I am.", tool, "Done.", *back)
    async with text_call.answered_by(Reception(case), *replies, userdata=case) as call:
        turn = await call.say("I have a question.")
        turn.expect.contains_agent_handoff(new_agent_type=agent)
        is_error, said = output(await call.say("Go on."))
        assert not is_error
        assert answer in said
        turn = await call.say("Something else.")
        turn.expect.contains_agent_handoff(new_agent_type=Reception)
        assert desk_of(call) is Reception
        assert call.spoken.count(GREETING) == 1
        assert call.spoken[-1] == "What else can I do?"


@pytest.mark.parametrize(
    ("desk", "wrong", "advice"),
    [
        ("billing", Call("look_up_bill", {"number": "999"}), "no bill of that number"),
        ("billing", Call("look_up_bill", {"number": "' OR 1=1 --"}), "no bill of that number"),
        ("billing", Call("look_up_bill", {"number": "4" * 10_000}), "no bill of that number"),
        ("billing", Call("check_line", {"customer_number": "100"}), "look_up_bill"),
        ("support", Call("open_ticket", {"summary": "  "}), "a ticket says what is wrong"),
        ("support", Call("to_billing", {"reason": "x"}), "to_reception"),
        ("technical", Call("check_line", {"customer_number": "me"}), "no customer of that number"),
    ],
)
async def test_a_desk_refuses_what_it_cannot_do_with_what_to_do_and_keeps_the_call(
    desk: str, wrong: Call, advice: str
) -> None:
    case = Case()
    replies = (to(desk), "Here I am.", wrong, "I am sorry.")
    async with text_call.answered_by(Reception(case), *replies, userdata=case) as call:
        await call.say("I have a question.")
        before = desk_of(call)
        is_error, said = output(await call.say("Something odd."))
        assert is_error
        assert advice in said
        assert desk_of(call) is before
        assert call.spoken[-1] == "I am sorry."


async def test_desks_that_would_hand_a_call_around_for_ever_are_made_to_speak() -> None:
    """An LLM that is sure of another desk each time would never come to speak, and never end."""
    case = Case()
    replies = (to("billing"), to("reception"), to("billing"), "How can I help you?")
    async with text_call.answered_by(Reception(case), *replies, userdata=case) as call:
        turn = await call.say("Hm.")
        handed = [event for event in turn.events if event.type == "agent_handoff"]
        assert len(handed) == MOST_HANDOVERS_IN_A_TURN
        assert call.spoken[-1] == "How can I help you?"
        assert desk_of(call) is Reception
        # Once the caller has spoken, it may go on.
        call.model.replies += [to("support"), "This is support."]
        await call.say("I want to complain.")
        assert desk_of(call) is Support


async def test_an_llm_that_dies_at_the_new_desk_loses_neither_the_desk_nor_what_is_known() -> None:
    case = Case()
    replies: Sequence[Reply] = (to("billing", "a wrong bill"), DIED, "Which bill?")
    async with text_call.answered_by(Reception(case), *replies, userdata=case) as call:
        await call.say("My bill is wrong.")
        assert call.spoken[-1] == closing.SAY_AGAIN
        await call.say("My bill is wrong, I said.")
        assert (call.spoken[-1], desk_of(call)) == ("Which bill?", Billing)
        assert "to billing: a wrong bill" in told(call)


async def test_the_same_complaint_twice_is_one_ticket() -> None:
    case = Case()
    assert [case.open_ticket(text) for text in ("rude", " rude ", "late")] == ["1", "1", "2"]


async def test_a_reason_as_long_as_a_novel_is_cut() -> None:
    case = Case()
    case.hand_over("billing", "my bill\n" * 10_000, 1)
    assert len(case.summary()) < 500


async def test_each_desk_speaks_with_its_own_voice() -> None:
    from livekit.agents import AgentSession

    of_session, of_billing = Voice(), Voice()
    case = Case({"billing": of_billing})
    model = ScriptedLLM(to("billing"), "This is billing.", to("reception"), "This is reception.")
    async with AgentSession[Case](
        llm=model, tts=of_session, vad=None, turn_handling={"turn_detection": None}, userdata=case
    ) as session:
        session.output.audio = speaker = Loudspeaker()
        speaker.can_end.set()
        await session.start(Reception(case), capture_run=True)
        await session.run(user_input="My bill.")
        await session.run(user_input="Something else.")
    assert " ".join(of_billing.texts) == "This is billing."
    assert " ".join(of_session.texts) == f"{GREETING} This is reception."


def test_no_two_desks_have_the_same_voice_at_any_provider() -> None:
    for provider in ("cartesia", "openai"):
        assert len({voices[provider] for voices in VOICES.values()}) == len(VOICES)

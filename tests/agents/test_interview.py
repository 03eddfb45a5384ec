"""How the interview is led: order, records, result, silence."""

import asyncio

import pytest
from livekit.agents import AgentSession

from tests.agents import text_call
from tests.agents.loudspeaker import Loudspeaker, Voice
from tests.agents.scripted_llm import Call, Reply, ScriptedLLM
from tests.agents.text_call import TextCall
from voicefleet.agents.interview import scorecard
from voicefleet.agents.interview.agent import GREETING, THANKS, Interviewer
from voicefleet.agents.interview.questions import QUESTIONS
from voicefleet.agents.interview.scorecard import Scorecard
from voicefleet.lab import conversation

SCRIPT = conversation.load("interview")
BEGIN = Call("begin_interview")


def record(question: int, score: int) -> Call:
    return Call("record_answer", {"question": question, "score": score, "note": "a note"})


async def last_output(call: TextCall, text: str) -> tuple[bool, str]:
    """Whether the tool that answered `text` refused, and what it said."""
    turn = await call.say(text)
    item = turn.expect.next_event(type="function_call_output").event().item
    return item.is_error, item.output


async def test_it_greets_with_the_number_of_its_questions() -> None:
    async with text_call.answered_by(Interviewer(), userdata=Scorecard()) as call:
        assert call.spoken == [GREETING]
        assert f"{scorecard.in_words(len(QUESTIONS))} questions" in GREETING


async def test_questions_reach_the_llm_one_at_a_time_and_in_order() -> None:
    replies: list[Reply] = [
        BEGIN,
        "First.",
        record(1, 4),
        "Next.",
        record(2, 3),
        "Next.",
        record(3, 5),
        "Done.",
    ]
    async with text_call.answered_by(Interviewer(), *replies, userdata=Scorecard()) as call:
        for question in QUESTIONS:
            _, output = await last_output(call, "Go on.")
            assert [q.text in output for q in QUESTIONS] == [q is question for q in QUESTIONS]
        _, output = await last_output(call, "That is all.")
        assert "hear the result" in output
        assert [a.score for a in call.session.userdata.answers] == [4, 3, 5]


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        (record(2, 3), "ask question 1"),
        (record(1, 7), "a score is from 1 to 5, not 7"),
        (Call("begin_interview"), "ask question 1"),
        (Call("finish_interview"), "ask question 1"),
        (Call("record_answer", {"question": 1, "score": 4}), "note"),
        (Call("record_answer", {"question": 1, "score": "high", "note": "x"}), "score"),
    ],
)
async def test_a_wrong_step_is_refused_with_advice_and_changes_nothing(
    wrong: Call, advice: str
) -> None:
    async with text_call.answered_by(
        Interviewer(), BEGIN, "First.", wrong, "Sorry.", userdata=Scorecard()
    ) as call:
        await call.say("I am ready.")
        before = call.session.userdata
        is_error, output = await last_output(call, "My answer.")
        assert is_error
        assert advice in output
        assert call.session.userdata is before


async def test_a_second_record_of_the_same_answer_replaces_nothing() -> None:
    replies: list[Reply] = [BEGIN, "First.", record(1, 4), "Next.", record(1, 5), "Sorry."]
    async with text_call.answered_by(Interviewer(), *replies, userdata=Scorecard()) as call:
        await call.say("I am ready.")
        await call.say("My answer.")
        is_error, output = await last_output(call, "Give me five points.")
        assert is_error
        assert "recorded with 4 points" in output
        assert [a.score for a in call.session.userdata.answers] == [4]


async def test_the_demo_call_ends_with_the_result_that_the_domain_computes() -> None:
    async with text_call.answered_by(
        Interviewer(), *scripted_replies(), userdata=Scorecard()
    ) as call:
        hung_up = text_call.closed(call.session)
        for exchange in SCRIPT.exchanges:
            await call.say(exchange.caller)
        assert call.spoken == [SCRIPT.greeting, *(e.agent for e in SCRIPT.exchanges)]
        assert call.spoken[-1] == f"{scorecard.summary(call.session.userdata)} {THANKS}"
        assert not call.model.replies
        await asyncio.wait_for(hung_up, timeout=2)


async def test_the_demo_call_asks_the_questions_word_for_word() -> None:
    asked = [e.agent for e in SCRIPT.exchanges[: len(QUESTIONS)]]
    assert [q.text in text for q, text in zip(QUESTIONS, asked, strict=True)] == [True] * 3


async def test_the_caller_may_stop_early_and_hears_what_was_scored() -> None:
    stop = Call("finish_interview", {"caller_wants_to_stop": True})
    replies: list[Reply] = [BEGIN, "First.", record(1, 2), "Next.", stop]
    async with text_call.answered_by(Interviewer(), *replies, userdata=Scorecard()) as call:
        for text in ("I am ready.", "My answer.", "I have to go."):
            await call.say(text)
        assert "one of three questions" in call.spoken[-1]


async def test_the_result_is_heard_to_its_end_whatever_the_caller_does() -> None:
    card = Scorecard()
    for number in (1, 2, 3):
        card = scorecard.record(scorecard.ask_next(card), number, 4, "a note")
    speaker, voice = Loudspeaker(), Voice()
    model = ScriptedLLM(Call("finish_interview"))
    async with AgentSession[Scorecard](
        llm=model, tts=voice, vad=None, turn_handling={"turn_detection": None}, userdata=card
    ) as session:
        session.output.audio = speaker
        speaker.can_end.set()
        await session.start(Interviewer(), capture_run=True)
        speaker.can_end.clear()
        hung_up = text_call.closed(session)
        session.generate_reply(user_input="Yes, please.")
        await asyncio.wait_for(speaker.is_sounding.wait(), timeout=2)
        with pytest.raises(RuntimeError, match="does not allow interruptions"):
            await session.interrupt()
        assert not hung_up.done()
        speaker.can_end.set()
        await asyncio.wait_for(hung_up, timeout=2)
    assert speaker.cut_count == 0
    assert scorecard.summary(card).split(".")[0] in " ".join(voice.texts)


def scripted_replies() -> list[Reply]:
    """What the LLM says in the demo call: the last answer is the tool's own."""
    replies: list[Reply] = []
    for exchange in SCRIPT.exchanges:
        replies += [Call(tool.name, tool.arguments) for tool in exchange.tools]
        replies.append(exchange.agent)
    return replies[:-1]

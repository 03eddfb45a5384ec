"""The script: how it is read, and what the stand-in model finds in it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.test_pictures import url as picture_url
from voicefleet import errors
from voicefleet.lab import conversation, pictures, script
from voicefleet.lab.conversation import Conversation, Exchange, ToolCall

CALL = Conversation(
    agent="test",
    greeting="Hello.",
    exchanges=(
        Exchange("Can I book a table?", "For how many?"),
        Exchange("Yes.", "First yes.", (ToolCall("book", {"seats": 2}),)),
        Exchange("Yes.", "Second yes."),
    ),
)


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def agent(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


CALLED = {"role": "assistant", "tool_calls": [{"function": {"name": "book"}}]}
RESULT = {"role": "tool", "content": "done"}


def answer(
    *messages: dict[str, Any], offered: frozenset[str] = frozenset({"book"})
) -> script.Reply:
    return script.reply(CALL, messages, offered)


def test_every_conversation_that_ships_can_be_read() -> None:
    for name in conversation.shipped_names():
        assert conversation.load(name).exchanges


def test_a_conversation_that_is_not_there_is_an_error_that_names_the_others() -> None:
    with pytest.raises(errors.UsageError) as caught:
        conversation.load("nowhere")
    assert "assistant" in caught.value.fix


@pytest.mark.parametrize("text", ["", "agent = 1 =", "agent = 'a'\ngreeting = 'b'\nexchange = 3"])
def test_a_file_that_is_no_conversation_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "call.toml"
    path.write_text(text)
    with pytest.raises(errors.UsageError):
        conversation.load(str(path))


def test_an_agent_may_only_write_and_a_caller_may_have_a_telephone() -> None:
    call = conversation.parse(
        'agent = "a"\ngreeting = ""\nonly_writes = true\ntelephone = "+15105550100"\n'
        '[[exchange]]\ncaller = "Hello."\n'
    )
    assert (call.only_writes, call.telephone) == (True, "+15105550100")
    assert call.exchanges == (Exchange("Hello.", ""),)
    assert not call.agent_phrases


def test_sentences_keep_their_punctuation() -> None:
    assert conversation.sentences("Thank you. Really? Yes!") == ("Thank you.", "Really?", "Yes!")


def test_words_are_what_a_recogniser_knows() -> None:
    assert conversation.words("It's seven o'clock, Anna!") == ("it's", "seven", "o'clock", "anna")


def test_the_greeting_comes_before_the_caller_speaks() -> None:
    assert answer({"role": "system", "content": "Be kind."}) == script.Reply("Hello.")


def test_a_caller_is_understood_by_most_of_the_words() -> None:
    assert answer(user("book a table")).text == "For how many?"
    assert answer(user([{"type": "text", "text": "Can I book a table?"}])).text == "For how many?"


def test_a_caller_who_says_something_else_is_not_understood() -> None:
    assert answer(user("What is the weather like?")).text == script.NOT_UNDERSTOOD
    assert answer(user("")).text == script.NOT_UNDERSTOOD


def test_the_same_words_go_on_where_the_call_is() -> None:
    before = [user("Can I book a table?"), agent("For how many?")]
    assert answer(*before, user("Yes.")).tools == (ToolCall("book", {"seats": 2}),)
    assert answer(*before, user("Yes."), CALLED, RESULT).text == "First yes."
    further = [*before, user("Yes."), CALLED, RESULT, agent("First yes.")]
    assert answer(*further, user("Yes.")).text == "Second yes."


def test_tools_of_several_agents_are_called_one_after_the_other_as_each_has_them() -> None:
    """An agent that took over is not shown what the one before it called."""
    tools = (ToolCall("to_billing", {}), ToolCall("find", {}), ToolCall("book", {}))
    call = replace(CALL, exchanges=(Exchange("My bill.", "It is paid.", tools),))
    asked = [user("My bill.")]
    first = script.reply(call, asked, frozenset({"to_billing", "to_support"}))
    assert [tool.name for tool in first.tools] == ["to_billing"]
    second = script.reply(call, asked, frozenset({"find", "book"}))
    assert [tool.name for tool in second.tools] == ["find", "book"]
    last = script.reply(call, asked, frozenset({"to_reception"}))
    assert (last.text, last.tools) == ("It is paid.", ())


def test_a_tool_that_is_not_offered_is_left_out_and_noted() -> None:
    reply = answer(user("Yes."), offered=frozenset())
    assert (reply.text, reply.tools) == ("First yes.", ())
    assert "book" in reply.note


def test_a_turn_that_came_in_two_messages_is_one_turn() -> None:
    assert answer(user("Can I book"), user("a table?")).text == "For how many?"


def test_a_turn_that_went_on_while_a_tool_was_called_is_one_turn() -> None:
    assert answer(user("Yes,"), CALLED, RESULT, user("thanks.")).text == "First yes."


def test_words_that_were_not_understood_do_not_hide_the_next_ones() -> None:
    assert answer(user("Hm, well, let me see."), user("Yes.")).tools


def test_what_was_answered_is_not_answered_again() -> None:
    told = {"role": "system", "content": "Say goodbye."}
    reply = answer(user("Can I book a table?"), agent("For how many?"), told)
    assert reply.text == script.ALREADY_ANSWERED


def test_the_model_says_what_it_is_shown_now_and_not_what_the_script_hopes() -> None:
    """Or that it sees nothing: the caller knows what was shown, and understands nothing else."""
    exchange = Exchange("What is it?", "It is a {seen}.", shows="red circle")
    call = replace(CALL, exchanges=(exchange,))

    def answer(*shown: str) -> str:
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in shown]
        asked = [user([*parts, {"type": "text", "text": "What is it?"}])]
        return script.reply(call, asked, frozenset()).text

    red, blue, empty = (
        picture_url(pictures.draw(what, 160, 120)) for what in ("red circle", "blue square", "")
    )
    assert answer(red) == exchange.expected == "It is a red circle."
    assert answer(red, blue) == "It is a blue square."
    assert answer() == answer(empty) == answer("data:image/jpeg;base64,AAAA") == script.BLIND
    assert call.agent_phrases == ("Hello.", "It is a red circle.")
    assert call.has_camera
    assert not CALL.has_camera


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            'greeting = "Hi."\n[[exchange]]\ncaller = "Yes."\nanswer = "No."',
            "no 'answer'; there are",
        ),
        ('greeting = "Hi."\n[[exchange]]\ncaler = "Yes."', "did you mean 'caller'"),
        ('greting = "Hi."', "did you mean 'greeting'"),
        ('[[exchange]]\ncaller = "Yes."', "'greeting' is missing"),
        ('greeting = "Hi."\n[[exchange]]\nagent = "Yes."', "'caller' is missing"),
        ("greeting = Hi.", "line 1"),
    ],
)
def test_what_is_wrong_with_a_conversation_is_said_in_words(
    tmp_path: Path, text: str, problem: str
) -> None:
    """A misspelt key was left out in silence, and a whole call later nobody had answered."""
    path = tmp_path / "talk.toml"
    path.write_text(text)
    with pytest.raises(errors.UsageError) as raised:
        conversation.load(str(path))
    assert problem in raised.value.problem
    assert "talk.toml" in raised.value.problem

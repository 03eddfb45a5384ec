"""What the library's telephone says and looks up."""

from livekit.agents.voice.run_result import mock_tools

from tests.agents import text_call
from tests.agents.scripted_llm import Call, Reply
from voicefleet.agents.assistant import library
from voicefleet.agents.assistant.agent import GREETING, PROMPT, Assistant
from voicefleet.lab import conversation

SCRIPT = conversation.load("assistant")


async def test_it_greets_before_the_caller_speaks() -> None:
    async with text_call.answered_by(Assistant()) as call:
        assert call.spoken == [GREETING]
        assert not call.model.requests


async def test_the_llm_is_told_the_prompt_and_the_day() -> None:
    async with text_call.answered_by(Assistant(), "Yes.") as call:
        await call.say("Are you open today?")
        instructions = call.model.requests[0].messages()[0].text_content or ""
        assert instructions.startswith(PROMPT)
        assert any(f"Today is {day.capitalize()}." in instructions for day in library.HOURS)


async def test_opening_hours_come_from_the_library_and_reach_the_llm() -> None:
    hours = Call("opening_hours", {"day": "saturday"})
    async with text_call.answered_by(Assistant(), hours, "From ten until four.") as call:
        turn = await call.say("When are you open on Saturday?")
        turn.expect.skip_next_event_if(type="message", role="user")
        turn.expect.next_event().is_function_call(
            name="opening_hours", arguments={"day": "saturday"}
        )
        turn.expect.next_event().is_function_call_output(
            output=library.opening_hours("saturday"), is_error=False
        )
        turn.expect.next_event().is_message(role="assistant")
        turn.expect.no_more_events()
        assert text_call.tool_outputs(call.model.requests[1]) == [library.opening_hours("saturday")]


async def test_a_day_that_does_not_exist_is_an_error_that_names_the_days() -> None:
    hours = Call("opening_hours", {"day": "someday"})
    async with text_call.answered_by(Assistant(), hours, "Which day do you mean?") as call:
        turn = await call.say("Are you open someday?")
        answer = turn.expect.next_event(type="function_call_output").event().item
        assert answer.is_error
        assert "'saturday'" in answer.output
        turn.expect.next_event().is_message(role="assistant")


async def test_arguments_that_are_no_arguments_end_neither_the_turn_nor_the_call() -> None:
    for arguments in (
        "",
        "not json",
        "[]",
        "null",
        '{"day": {"$ne": 1}}',
        '{"day": "' + "x" * 9999,
    ):
        hours = Call("opening_hours", arguments)
        async with text_call.answered_by(Assistant(), hours, "Sorry?", "Still here.") as call:
            turn = await call.say("When are you open?")
            assert turn.expect.next_event(type="function_call_output").event().item.is_error
            await call.say("Hello?")
            assert call.spoken[-1] == "Still here."


async def test_a_tool_that_does_not_exist_is_an_error_that_names_the_tools() -> None:
    async with text_call.answered_by(Assistant(), Call("open_the_door"), "I cannot.") as call:
        turn = await call.say("Open the door.")
        output = turn.expect.next_event(type="function_call_output").event().item.output
        assert "opening_hours" in output
        assert "find_book" in output


async def test_an_unknown_book_tells_the_llm_to_offer_another_title() -> None:
    book = Call("find_book", {"title": "Ulysses"})
    async with text_call.answered_by(Assistant(), book, "We do not have it.") as call:
        turn = await call.say("Do you have Ulysses?")
        output = turn.expect.next_event(type="function_call_output").event().item
        assert output.is_error
        assert "no book called 'Ulysses'" in output.output


async def test_a_lookup_that_breaks_is_an_error_without_its_details() -> None:
    def broken() -> str:
        raise OSError("disk 7 has gone")

    book = Call("find_book", {"title": "Emma"})
    with mock_tools(Assistant, {"find_book": broken}):
        async with text_call.answered_by(Assistant(), book, "I cannot look it up.") as call:
            turn = await call.say("Do you have Emma?")
            output = turn.expect.next_event(type="function_call_output").event().item
            assert output.is_error
            assert "disk" not in output.output


async def test_the_demo_call_is_one_that_this_agent_answers() -> None:
    replies: list[Reply] = []
    for exchange in SCRIPT.exchanges:
        replies += [Call(tool.name, tool.arguments) for tool in exchange.tools]
        replies.append(exchange.agent)
    async with text_call.answered_by(Assistant(), *replies) as call:
        for exchange in SCRIPT.exchanges:
            await call.say(exchange.caller)
        assert call.spoken == [SCRIPT.greeting, *(e.agent for e in SCRIPT.exchanges)]
        assert not any(
            item.is_error
            for item in call.session.history.items
            if item.type == "function_call_output"
        )

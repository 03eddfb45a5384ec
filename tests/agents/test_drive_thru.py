"""What the drive-through enters, changes and refuses, and what it says the customer pays."""

import asyncio
import logging

import pytest
from livekit.agents import APIConnectionError
from livekit.agents.llm.utils import build_strict_openai_schema
from livekit.agents.voice.run_result import mock_tools

from tests.agents import text_call
from tests.agents.scripted_llm import BreaksOff, Call, Reply
from tests.agents.text_call import TextCall
from voicefleet.agents import closing
from voicefleet.agents.drive_thru import order
from voicefleet.agents.drive_thru.agent import GOODBYE, GREETING, OrderTaker
from voicefleet.agents.drive_thru.menu import MENU, SIZES
from voicefleet.agents.drive_thru.order import MOST_OF_A_LINE, Order
from voicefleet.lab import conversation

SCRIPT = conversation.load("drive_thru")
FINISH = Call("finish_order")
DIED = APIConnectionError("the provider is down", retryable=False)


def add(item: object = "cheeseburger", **arguments: object) -> Call:
    return Call("add_item", {"item": item, **arguments})


def change(line: int, **arguments: object) -> Call:
    return Call("change_item", {"line": line, **arguments})


def entered(call: TextCall) -> list[str]:
    return [order.spoken_line(line) for line in call.session.userdata.lines]


async def outputs(call: TextCall, text: str) -> list[tuple[bool, str]]:
    """Of each tool that answered `text`: whether it refused, and what it said."""
    turn = await call.say(text)
    found = [event.item for event in turn.events if event.type == "function_call_output"]
    return [(item.is_error, item.output) for item in found]


async def test_the_llm_is_shown_the_menu_and_may_say_nothing_else() -> None:
    async with text_call.answered_by(OrderTaker(), "Yes.", userdata=Order()) as call:
        assert call.spoken == [GREETING]
        await call.say("Hello?")
        told = call.model.requests[0].messages()[0].text_content or ""
        assert "- fries: medium 2.75, small 2.25, large 3.25" in told
    tools = [build_strict_openai_schema(tool) for tool in OrderTaker().tools]  # type: ignore[arg-type]
    adding = next(t["function"] for t in tools if t["function"]["name"] == "add_item")
    shown = adding["parameters"]["properties"]
    assert shown["item"]["enum"] == list(MENU)
    assert set(SIZES) <= set(shown["size"]["enum"])


async def test_two_things_at_once_are_both_in_the_order() -> None:
    both = (add(), add("cola", size="large", without=["ice"]))
    async with text_call.answered_by(OrderTaker(), both, "What else?", userdata=Order()) as call:
        said = await outputs(call, "A cheeseburger, and a large cola without ice.")
        assert [is_error for is_error, _ in said] == [False, False]
        assert entered(call) == ["one cheeseburger", "one large cola without ice"]
        assert "Total: six dollars and eighty five cents" in said[-1][1]


async def test_a_size_that_nobody_named_is_the_usual_one_also_where_a_strict_llm_says_null() -> (
    None
):
    asked = add("fries", size=None, quantity=None, without=None)
    async with text_call.answered_by(OrderTaker(), asked, "Okay.", userdata=Order()) as call:
        await call.say("Fries.")
        assert entered(call) == ["one medium fries"]


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        (add("pizza"), "no item on the menu called 'pizza': say so, and offer one of cheeseburger"),
        (add("Cheeseburger"), "no item on the menu called"),
        (add("x" * 10_000), "no item on the menu called"),
        (add({"$ne": 1}), "item"),
        (add("cola", size="bucket"), "no size 'bucket'"),
        (add("cola", size="regular"), "cola is medium or small or large, not regular"),
        (add("cheeseburger", size="large"), "cheeseburger is regular, not large"),
        (add("cheeseburger", without=["price"]), "no ingredient to leave out called 'price'"),
        (add("cheeseburger", without=["ice"]), "cheeseburger has no ice to leave out"),
        (add("cola", quantity=0), "a line has from 1 to 20"),
        (add("cola", quantity=-3), "a line has from 1 to 20"),
        (add("cola", quantity=10**30), "a line has from 1 to 20"),
        (add("cola", quantity="many"), "quantity"),
        (change(7, quantity=2), "there is no line 7. The order is now: line 1: one apple pie"),
        (change(1, quantity=MOST_OF_A_LINE + 1), "a line has from 1 to 20"),
        (change(1, size="large"), "apple pie is regular, not large"),
        (Call("remove_item", {"line": 0}), "there is no line 0"),
        (Call("remove_item", {"line": "pie"}), "line"),
    ],
)
async def test_what_is_not_on_the_menu_is_refused_with_what_to_offer_and_changes_nothing(
    wrong: Call, advice: str
) -> None:
    replies: tuple[Reply, ...] = (add("apple pie"), "What else?", wrong, "We do not have that.")
    async with text_call.answered_by(OrderTaker(), *replies, userdata=Order()) as call:
        await call.say("An apple pie.")
        before = call.session.userdata
        ((is_error, said),) = await outputs(call, "And something odd.")
        assert is_error
        assert advice in said
        assert call.session.userdata is before
        assert call.spoken[-1] == "We do not have that."


async def test_the_order_changes_as_the_customer_does_and_lines_keep_their_numbers() -> None:
    replies: list[Reply] = []
    for step in (
        (add(), add("cola"), add("fries")),
        Call("remove_item", {"line": 1}),
        change(2, size="large", quantity=3),
        change(2, without=["ice"]),
        add("lemonade"),
        change(2, without=[]),
    ):
        replies += [step, "What else?"]
    async with text_call.answered_by(OrderTaker(), *replies, userdata=Order()) as call:
        for _ in range(4):
            await call.say("Go on.")
        assert entered(call) == ["three large colas without ice", "one medium fries"]
        await call.say("And a lemonade.")
        assert [line.number for line in call.session.userdata.lines] == [2, 3, 4]
        await call.say("With ice after all.")
        assert entered(call)[0] == "three large colas"


async def test_the_total_is_said_to_the_end_the_kitchen_is_told_and_the_call_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    replies = (add(quantity=2), "What else?", FINISH)
    async with text_call.answered_by(OrderTaker(), *replies, userdata=Order()) as call:
        hung_up = text_call.closed(call.session)
        await call.say("Two cheeseburgers.")
        await call.say("That is all.")
        await asyncio.wait_for(hung_up, timeout=2)
        assert call.spoken[-1] == (
            f"That is two cheeseburgers. Your total is nine dollars. {GOODBYE}"
        )
    (told,) = [r for r in caplog.records if r.message == "order for the kitchen"]
    assert vars(told)["total_cents"] == 900


async def test_an_empty_order_is_not_finished_and_a_finished_one_not_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    replies = (FINISH, "What would you like?", add(), "Okay.", (FINISH, FINISH))
    async with text_call.answered_by(OrderTaker(), *replies, userdata=Order()) as call:
        hung_up = text_call.closed(call.session)
        ((is_error, said),) = await outputs(call, "Done.")
        assert (is_error, said) == (True, "nothing is ordered: ask what the customer would like")
        await call.say("A cheeseburger.")
        call.session.generate_reply(user_input="That is all.")
        await asyncio.wait_for(hung_up, timeout=2)
    assert sum(r.message == "order for the kitchen" for r in caplog.records) == 1


@pytest.mark.parametrize("failure", [DIED, BreaksOff("One cheeseburger and")])
async def test_a_provider_that_dies_costs_the_customer_nothing_of_the_order(
    failure: Reply,
) -> None:
    replies: tuple[Reply, ...] = (add(), failure, "One cheeseburger. What else?")
    async with text_call.answered_by(OrderTaker(), *replies, userdata=Order()) as call:
        await call.say("A cheeseburger.")
        assert call.spoken[-1] == closing.SAY_AGAIN
        await call.say("A cheeseburger, I said.")
        assert call.spoken[-1] == "One cheeseburger. What else?"
        assert entered(call) == ["one cheeseburger"]


async def test_a_tool_that_breaks_is_an_error_without_its_details() -> None:
    def broken() -> str:
        raise OSError("till 7 is on fire")

    with mock_tools(OrderTaker, {"read_order": broken}):
        asked = Call("read_order")
        async with text_call.answered_by(OrderTaker(), asked, "Sorry.", userdata=Order()) as call:
            ((is_error, said),) = await outputs(call, "What have I got?")
            assert is_error
            assert "till" not in said


async def test_the_demo_call_is_one_that_this_agent_answers() -> None:
    replies: list[Reply] = []
    for exchange in SCRIPT.exchanges:
        replies += [tuple(Call(t.name, t.arguments) for t in exchange.tools), exchange.agent]
    async with text_call.answered_by(OrderTaker(), *replies[:-1], userdata=Order()) as call:
        for exchange in SCRIPT.exchanges:
            await call.say(exchange.caller)
        assert call.spoken == [SCRIPT.greeting, *(e.agent for e in SCRIPT.exchanges)]


@pytest.mark.parametrize(
    ("cents", "words"),
    [
        (0, "nothing"),
        (1, "one cent"),
        (100, "one dollar"),
        (945, "nine dollars and forty five cents"),
        (1_919, "nineteen dollars and nineteen cents"),
        (10_000, "one hundred dollars"),
        (315_012, "three thousand one hundred fifty dollars and twelve cents"),
    ],
)
def test_money_is_words(cents: int, words: str) -> None:
    assert order.spoken_money(cents) == words


def test_every_price_is_whole_cents_and_every_name_can_be_ordered() -> None:
    taken = Order()
    for item in MENU.values():
        for size, cents in item.cents.items():
            assert type(cents) is int
            taken = order.add(taken, item.name, size, 1, item.without)
    assert order.total_cents(taken) == sum(sum(i.cents.values()) for i in MENU.values())

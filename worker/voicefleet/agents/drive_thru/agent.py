"""A drive-through: takes an order, changes it as often as the customer does, and says the total."""

import logging
from pathlib import Path
from typing import Any

from livekit.agents import Agent, AgentServer, JobContext, RunContext, function_tool
from livekit.agents.llm import ToolResult

from voicefleet import build_session, play_background_sound
from voicefleet.agents import closing, silence

from . import menu, order
from .menu import ItemName, LeftOut, Size
from .order import Order

GREETING = "Welcome to the burger house. What can I get you?"
GOODBYE = "Please drive to the window."
# People at a window decide fast, and others wait behind them.
SILENCE_BEFORE_NUDGE_SECONDS = 8.0

PROMPT = Path(__file__).with_name("prompt.md").read_text(encoding="utf-8")

logger = logging.getLogger(__name__)
server = AgentServer()


class OrderTaker(Agent):
    """Listens and enters. The session's userdata is the order."""

    def __init__(self) -> None:
        super().__init__(instructions=f"{PROMPT}\n# The menu, in dollars\n{menu.spoken()}\n")

    async def on_enter(self) -> None:
        self.session.say(GREETING)

    @function_tool
    async def add_item(
        self,
        context: RunContext[Order],
        item: ItemName,
        size: Size | None = None,
        quantity: int = 1,
        without: list[LeftOut] | None = None,
    ) -> str:
        """Add something to the order.

        Args:
            item: What, as it is called on the menu.
            size: Leave out for the usual one.
            quantity: How many of it.
            without: What to leave out of it.
        """
        now = order.add(context.userdata, item, size, quantity, tuple(without or ()))
        return _enter(context, now)

    @function_tool
    async def change_item(
        self,
        context: RunContext[Order],
        line: int,
        size: Size | None = None,
        quantity: int | None = None,
        without: list[LeftOut] | None = None,
    ) -> str:
        """Change a line of the order; what is left out stays as it is.

        Args:
            line: The number of the line.
            size: Its new size.
            quantity: How many it is now.
            without: All that is left out of it now; empty for nothing.
        """
        left_out = None if without is None else tuple(without)
        now = order.change(context.userdata, line, size=size, quantity=quantity, without=left_out)
        return _enter(context, now)

    @function_tool
    async def remove_item(self, context: RunContext[Order], line: int) -> str:
        """Take a line off the order.

        Args:
            line: The number of the line.
        """
        return _enter(context, order.remove(context.userdata, line))

    @function_tool
    async def read_order(self, context: RunContext[Order]) -> str:
        """The order so far with its total, where the customer asks."""
        return order.numbered(context.userdata)

    @function_tool
    async def finish_order(self, context: RunContext[Order]) -> ToolResult:
        """Say the whole order and its total, hand it to the kitchen and end the call."""
        finished = order.finish(context.userdata)
        _enter(context, finished)
        hand_to_kitchen(finished)
        context.session.say(f"{order.summary(finished)} {GOODBYE}", allow_interruptions=False)
        closing.hang_up(context.session)
        return ToolResult("The order is being read out.", reply_required=False)


def hand_to_kitchen(finished: Order) -> None:
    """Here a till would be told; the log is the kitchen of this example."""
    lines: list[dict[str, Any]] = [
        {"item": at.item, "size": at.size, "quantity": at.quantity, "without": at.without}
        for at in finished.lines
    ]
    total = order.total_cents(finished)
    logger.info("order for the kitchen", extra={"lines": lines, "total_cents": total})


def _enter(context: RunContext[Order], now: Order) -> str:
    # There is no await between reading the order and this, so tools called at once lose nothing.
    context.session.userdata = now
    return order.numbered(now)


@server.rtc_session(agent_name="drive_thru")
async def serve(ctx: JobContext) -> None:
    """One order, from the greeting to the window."""
    call = build_session(ctx.proc, userdata=Order(), user_away_timeout=SILENCE_BEFORE_NUDGE_SECONDS)
    closing.watch(call)
    silence.watch(call)
    await call.start(agent=OrderTaker(), room=ctx.room)
    await ctx.connect()
    await play_background_sound(ctx, call)

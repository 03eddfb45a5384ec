"""A service line: reception finds out what a caller wants and hands the call to billing, support or
the technical desk, each with a voice of its own; every desk can hand it back.
"""

from pathlib import Path
from typing import Any, get_args

from livekit.agents import Agent, AgentServer, JobContext, RunContext, function_tool
from livekit.agents.llm import ChatContext

from voicefleet import build_session, build_voice, play_background_sound
from voicefleet.agents import closing, silence

from . import records
from .case import Case, DeskName

GREETING = "Hello, this is the service line. What can I do for you?"

# Which voice a desk has at each provider. Reception has the session's.
VOICES: dict[DeskName, dict[str, str]] = {
    "billing": {"cartesia": "71a7ad14-091c-4e8e-a314-022ece01c121", "openai": "coral"},
    "support": {"cartesia": "e00d0e4c-a5c8-443f-a8a3-473eb9a62355", "openai": "sage"},
    "technical": {"cartesia": "d46abd1d-2d02-43e8-819f-51fb652c1c61", "openai": "echo"},
}

PROMPT = Path(__file__).with_name("prompt.md").read_text(encoding="utf-8")
DESKS: dict[DeskName, str] = {
    desk: Path(__file__).with_name(f"{desk}.md").read_text(encoding="utf-8")
    for desk in get_args(DeskName)
}

server = AgentServer()


@function_tool
async def to_reception(context: RunContext[Case], reason: str) -> Agent:
    """Hand the call back to reception, for what this desk does not do.

    Args:
        reason: What the caller wants now, in a few words.
    """
    return Reception(context.userdata, _go_on(context, "reception", reason))


class Reception(Agent):
    """Opens the call, and knows who does what."""

    def __init__(self, case: Case, talk: ChatContext | None = None) -> None:
        super().__init__(**_seat("reception", case, talk))

    async def on_enter(self) -> None:
        if self.session.userdata.reasons:
            self.session.generate_reply()
        else:
            self.session.say(GREETING)

    @function_tool
    async def to_billing(self, context: RunContext[Case], reason: str) -> Agent:
        """Hand the call to billing: bills and payments.

        Args:
            reason: What the caller wants, in a few words.
        """
        return Billing(context.userdata, _go_on(context, "billing", reason))

    @function_tool
    async def to_support(self, context: RunContext[Case], reason: str) -> Agent:
        """Hand the call to support: complaints, wishes and contracts.

        Args:
            reason: What the caller wants, in a few words.
        """
        return Support(context.userdata, _go_on(context, "support", reason))

    @function_tool
    async def to_technical(self, context: RunContext[Case], reason: str) -> Agent:
        """Hand the call to the technical desk: a line that is slow or does not work.

        Args:
            reason: What is wrong, in a few words.
        """
        return Technical(context.userdata, _go_on(context, "technical", reason))


class Billing(Agent):
    """Looks bills up."""

    def __init__(self, case: Case, talk: ChatContext) -> None:
        super().__init__(**_seat("billing", case, talk), tools=[to_reception])

    async def on_enter(self) -> None:
        self.session.generate_reply()

    @function_tool
    async def look_up_bill(self, context: RunContext[Case], number: str) -> str:
        """What a bill is about.

        Args:
            number: The number of the bill.
        """
        context.userdata.bill = records.find_bill(number)
        return str(context.userdata.bill)


class Support(Agent):
    """Writes down what somebody is to do."""

    def __init__(self, case: Case, talk: ChatContext) -> None:
        super().__init__(**_seat("support", case, talk), tools=[to_reception])

    async def on_enter(self) -> None:
        self.session.generate_reply()

    @function_tool
    async def open_ticket(self, context: RunContext[Case], summary: str) -> str:
        """Write down a complaint or a wish.

        Args:
            summary: What the caller wants, in one sentence.
        """
        return f"This is ticket {context.userdata.open_ticket(summary)} of this call."


class Technical(Agent):
    """Measures lines."""

    def __init__(self, case: Case, talk: ChatContext) -> None:
        super().__init__(**_seat("technical", case, talk), tools=[to_reception])

    async def on_enter(self) -> None:
        self.session.generate_reply()

    @function_tool
    async def check_line(self, context: RunContext[Case], customer_number: str) -> str:
        """Measure a customer's line.

        Args:
            customer_number: The number of the customer.
        """
        context.userdata.line = records.line_state(customer_number)
        return f"The line is {context.userdata.line}."


def _go_on(context: RunContext[Case], to: DeskName, reason: str) -> ChatContext:
    """What was said so far, for the next desk; its tools and instructions are its own."""
    said = context.session.history
    caller_turns = sum(message.role == "user" for message in said.messages())
    context.userdata.hand_over(to, reason, caller_turns)
    return said.copy(
        exclude_instructions=True,
        exclude_function_call=True,
        exclude_handoff=True,
        exclude_config_update=True,
    )


def _seat(desk: DeskName, case: Case, talk: ChatContext | None) -> dict[str, Any]:
    """What an agent of that desk is made of."""
    instructions = f"{DESKS[desk]}\n{PROMPT}\n# What is known of this call\n{case.summary()}\n"
    voice = {"tts": case.voices[desk]} if desk in case.voices else {}
    return {"instructions": instructions, "chat_ctx": talk, **voice}


@server.rtc_session(agent_name="triage")
async def answer(ctx: JobContext) -> None:
    """One call, whoever of the desks has it."""
    voices = {desk: build_voice(ctx.proc, voices) for desk, voices in VOICES.items()}
    case = Case(voices)
    call = build_session(ctx.proc, userdata=case)
    closing.watch(call)
    silence.watch(call)
    await call.start(agent=Reception(case), room=ctx.room)
    await ctx.connect()
    await play_background_sound(ctx, call)

"""The front desk of a dental practice: books, moves and cancels, each time after the caller has
heard it read back and said yes.
"""

import contextlib
from collections.abc import Awaitable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from livekit.agents import Agent, AgentServer, JobContext, RunContext, function_tool
from livekit.agents.llm import ToolResult

from voicefleet import build_session, play_background_sound, settings_of
from voicefleet.agents import closing, silence

from . import calendar, opening
from .calendar import SqliteCalendar
from .changes import Booking, Cancellation, Change, Move
from .notes import Notes, Proposal, digits, tidy_name

GREETING = "Hello, this is the dental practice. How can I help you?"
ONE_MOMENT = "One moment, please."
SILENCE_BEFORE_ONE_MOMENT_SECONDS = 1.5
DAYS_AHEAD = 14

PROMPT = Path(__file__).with_name("prompt.md").read_text(encoding="utf-8")

Result = TypeVar("Result")

server = AgentServer()


class FrontDesk(Agent):
    """Its tools propose, read back, and do what the caller has said yes to."""

    def __init__(self, notes: Notes) -> None:
        super().__init__(instructions=instructions(notes))

    async def on_enter(self) -> None:
        self.session.say(GREETING)

    @function_tool
    async def free_times(self, context: RunContext[Notes], day: str) -> str:
        """The times at which an appointment can begin on one day.

        Args:
            day: The date, as 2030-12-31.
        """
        notes = context.userdata
        wanted = opening.parse_day(day)
        opening.check_day(wanted, notes.now())
        return opening.spoken_times(await _free(context, wanted))

    @function_tool
    async def propose_appointment(
        self, context: RunContext[Notes], day: str, time: str, name: str
    ) -> ToolResult:
        """Read a new appointment back to the caller. It is not booked before confirm_change.

        Args:
            day: The date, as 2030-12-31.
            time: When it begins, as 14:30.
            name: The caller's first and last name.
        """
        await self._begin_anew(context)
        at = await _free_time(context, day, time)
        return _read_back(context, Booking(at, tidy_name(name)))

    @function_tool
    async def find_appointment(self, context: RunContext[Notes], reference: str, name: str) -> str:
        """Find an appointment that was made in another call.

        Args:
            reference: Its four digits.
            name: The name that it was made for.
        """
        notes = context.userdata
        notes.proposal = None
        found = await _ask(context, notes.calendar.find(digits(reference)))
        notes.prove(found, name)
        await self.update_instructions(instructions(notes))
        return notes.summary()

    @function_tool
    async def propose_move(
        self, context: RunContext[Notes], day: str, time: str, reference: str | None = None
    ) -> ToolResult:
        """Read back to which day and time an appointment is moved. Done only by confirm_change.

        Args:
            day: The new date, as 2030-12-31.
            time: When it begins then, as 14:30.
            reference: Its four digits; leave out for the one of this call.
        """
        await self._begin_anew(context)
        appointment = context.userdata.appointment(reference)
        return _read_back(context, Move(appointment, await _free_time(context, day, time)))

    @function_tool
    async def propose_cancellation(
        self, context: RunContext[Notes], reference: str | None = None
    ) -> ToolResult:
        """Read back which appointment is cancelled. Done only by confirm_change.

        Args:
            reference: Its four digits; leave out for the one of this call.
        """
        await self._begin_anew(context)
        return _read_back(context, Cancellation(context.userdata.appointment(reference)))

    @function_tool
    async def confirm_change(self, context: RunContext[Notes]) -> str:
        """Do what was read back last, once the caller has said yes to it."""
        notes = context.userdata
        change = notes.confirmed(_caller_turns(context))
        await self._do(context, change)
        return f"Done. {notes.summary()}"

    async def _do(self, context: RunContext[Notes], change: Change) -> None:
        notes = context.userdata
        notes.unsettled = change
        try:
            changed = await _ask(context, change.apply(notes.calendar))
        except calendar.TakenError:
            notes.proposal = notes.unsettled = None
            raise
        notes.keep(changed, change.before)
        await self.update_instructions(instructions(notes))

    async def _begin_anew(self, context: RunContext[Notes]) -> None:
        """Forget what was read back last. What the caller has said yes to, and the calendar has not
        answered, is settled before there is more: or ten o'clock stays booked beside eleven.
        """
        notes = context.userdata
        notes.proposal = None
        if notes.unsettled is not None:
            with contextlib.suppress(calendar.TakenError):
                await self._do(context, notes.unsettled)
                raise calendar.DoneMeanwhileError(notes.summary())


def instructions(notes: Notes) -> str:
    """The prompt, and what changes: the clock, the days ahead, the caller's appointments."""
    now = notes.now()
    days = (now.date() + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1))
    ahead = "\n".join(f"- {day:%A} {day}" for day in days)
    clock = f"It is {now:%A}, {now:%H:%M}."
    return f"{PROMPT}\n# Now\n{clock} {notes.summary()}\nThe days from today on:\n{ahead}\n"


def _read_back(context: RunContext[Notes], change: Change) -> ToolResult:
    """Said by code and not by the LLM, so that what is asked is what will be done."""
    context.userdata.proposal = Proposal(change, _caller_turns(context))
    context.session.say(change.question)
    return ToolResult("It is being read back. Wait for the answer.", reply_required=False)


async def _free_time(context: RunContext[Notes], day: str, time: str) -> datetime:
    """:raises RefusedError: if no appointment can begin then, naming when one can."""
    at = datetime.combine(opening.parse_day(day), opening.parse_time(time))
    opening.check(at, context.userdata.now())
    free = await _free(context, at.date())
    if at not in free:
        raise opening.RefusedError(
            f"{opening.spoken(at)} is taken. Free that day: {opening.spoken_times(free)}"
        )
    return at


async def _free(context: RunContext[Notes], day: date) -> list[datetime]:
    notes = context.userdata
    taken = await _ask(context, notes.calendar.taken(day))
    return opening.free_times(day, taken, notes.now())


async def _ask(context: RunContext[Notes], step: Awaitable[Result]) -> Result:
    """Ask the calendar; a caller who waits is told so."""
    async with context.with_filler(ONE_MOMENT, delay=SILENCE_BEFORE_ONE_MOMENT_SECONDS):
        return await calendar.in_time(step)


def _caller_turns(context: RunContext[Notes]) -> int:
    """How many times the caller has spoken."""
    return sum(message.role == "user" for message in context.session.history.messages())


@server.rtc_session(agent_name="front_desk")
async def answer(ctx: JobContext) -> None:
    """One call, from the ring to the goodbye."""
    shipped = settings_of(ctx.proc).shipped
    notes = Notes(
        SqliteCalendar(shipped.calendar),
        now=lambda: datetime.now(shipped.zone).replace(tzinfo=None),
    )
    call = build_session(ctx.proc, userdata=notes)
    closing.watch(call)
    silence.watch(call)
    await call.start(agent=FrontDesk(notes), room=ctx.room)
    await ctx.connect()
    await play_background_sound(ctx, call)

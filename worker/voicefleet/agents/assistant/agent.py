"""The telephone of a city library: the small agent to copy."""

from datetime import UTC, datetime, tzinfo
from pathlib import Path

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, function_tool

from voicefleet import build_session, play_background_sound, settings_of
from voicefleet.agents import closing, silence

from . import library

GREETING = "Hello, this is the city library. How can I help you?"
PROMPT = Path(__file__).with_name("prompt.md").read_text(encoding="utf-8")

server = AgentServer()


class Assistant(Agent):
    """Answers from its prompt, and looks up what changes."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        super().__init__(instructions=f"{PROMPT}\nToday is {datetime.now(zone):%A}.\n")

    async def on_enter(self) -> None:
        self.session.say(GREETING)

    @function_tool
    async def opening_hours(self, day: library.Day) -> str:
        """The opening hours of one day of the week.

        Args:
            day: The day, in English and lower case.
        """
        return library.opening_hours(day)

    @function_tool
    async def find_book(self, title: str) -> str:
        """Whether the library has a book, and on which shelf.

        Args:
            title: The title alone, without the author.
        """
        return library.whereabouts(library.find_book(title))


@server.rtc_session(agent_name="assistant")
async def answer(ctx: JobContext) -> None:
    """One call, from the ring to the goodbye."""
    call: AgentSession[None] = build_session(ctx.proc)
    closing.watch(call)
    silence.watch(call)
    zone = settings_of(ctx.proc).shipped.zone
    await call.start(agent=Assistant(zone), room=ctx.room)
    await ctx.connect()
    await play_background_sound(ctx, call)

"""The library's telephone through a speech-to-speech model: one websocket in place of recognition,
LLM and voice. What is different there from the assistant is what this file shows.
"""

from datetime import UTC, datetime, tzinfo
from pathlib import Path

from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    ErrorEvent,
    JobContext,
    UserInputTranscribedEvent,
    function_tool,
    llm,
)

from voicefleet import build_realtime_session, settings_of
from voicefleet.agents import closing
from voicefleet.agents.assistant import library
from voicefleet.agents.closing import FORGIVEN_FAILURES

PROMPT = Path(__file__).with_name("prompt.md").read_text(encoding="utf-8")
# A model with a voice of its own is told what to say; nobody reads a text out.
GREET = 'Say word for word: "Hello, this is the city library. How can I help you?"'
GO_ON = (
    "The line broke off while you spoke. Apologise in a few words and say your last answer again."
)

server = AgentServer()


class RealtimeAssistant(Agent):
    """Answers from its prompt, looks up what changes, and takes up what a lost line broke off."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        super().__init__(instructions=f"{PROMPT}\nToday is {datetime.now(zone):%A}.\n")
        self._was_broken_off = False
        self._broken_off_count = 0

    async def on_enter(self) -> None:
        self.session.on("error", self._on_error)
        self.session.on("user_input_transcribed", self._on_heard)
        self.realtime_llm_session.on("session_reconnected", self._on_reconnected)
        self.session.generate_reply(instructions=GREET)

    async def on_exit(self) -> None:
        self.session.off("error", self._on_error)
        self.session.off("user_input_transcribed", self._on_heard)

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

    def _on_error(self, event: ErrorEvent) -> None:
        """A recoverable error is a lost line that LiveKit opens again, with all that was said; what
        the model was saying is lost with it. For the others see `closing`.
        """
        is_speaking = self.session.agent_state in ("thinking", "speaking")
        if event.error.type == "realtime_model_error" and event.error.recoverable and is_speaking:
            self._was_broken_off = True

    def _on_reconnected(self, _: llm.RealtimeSessionReconnectedEvent) -> None:
        # LiveKit also renews a line that is old, between two answers: that is nobody's concern.
        if not self._was_broken_off:
            return
        self._was_broken_off = False
        self._broken_off_count += 1
        if self._broken_off_count > FORGIVEN_FAILURES:
            closing.give_up(self.session)
        else:
            self.session.generate_reply(instructions=GO_ON)

    def _on_heard(self, _: UserInputTranscribedEvent) -> None:
        self._broken_off_count = 0


@server.rtc_session(agent_name="realtime")
async def answer(ctx: JobContext) -> None:
    """One call, from the ring to the goodbye."""
    call: AgentSession[None] = build_realtime_session(ctx.proc)
    closing.watch(call)
    await call.start(agent=RealtimeAssistant(settings_of(ctx.proc).shipped.zone), room=ctx.room)
    await ctx.connect()

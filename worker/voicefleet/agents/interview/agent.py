"""A practice job interview: three questions, every answer scored, a result nobody interrupts."""

from pathlib import Path

from livekit.agents import (
    Agent,
    AgentServer,
    JobContext,
    RunContext,
    function_tool,
)
from livekit.agents.llm import ToolResult

from voicefleet import build_session, play_background_sound
from voicefleet.agents import closing, silence

from . import scorecard

GREETING = "Hello, this is a practice job interview. I will ask you three questions. Are you ready?"
NUDGE = "Take your time. I am still here."
FAREWELL = "I cannot hear you, so I will end the interview here. Goodbye."
THANKS = "Thank you for practicing. Goodbye."
# Long enough to think about an answer.
SILENCE_BEFORE_NUDGE_SECONDS = 12.0

PROMPT = Path(__file__).with_name("prompt.md").read_text(encoding="utf-8")

server = AgentServer()


class Interviewer(Agent):
    """Asks, listens and scores. The session's userdata is the scorecard."""

    def __init__(self) -> None:
        super().__init__(instructions=PROMPT)

    async def on_enter(self) -> None:
        self.session.say(GREETING)

    @function_tool
    async def begin_interview(self, context: RunContext[scorecard.Scorecard]) -> str:
        """Begin, once the caller is ready."""
        card = scorecard.ask_next(context.userdata)
        context.session.userdata = card
        return _next_step(card)

    @function_tool
    async def record_answer(
        self, context: RunContext[scorecard.Scorecard], question: int, score: int, note: str
    ) -> str:
        """Record what the caller answered. An answer is recorded once.

        Args:
            question: The number of the question that was answered, from 1.
            score: From 1 (no answer) to 5 (an example, its result, and a lesson).
            note: Why this score, in a few words.
        """
        card = scorecard.record(context.userdata, question, score, note)
        if not card.is_complete:
            card = scorecard.ask_next(card)
        context.session.userdata = card
        return f"Recorded. Say one short sentence of feedback, then {_next_step(card)}"

    @function_tool
    async def finish_interview(
        self, context: RunContext[scorecard.Scorecard], caller_wants_to_stop: bool = False
    ) -> ToolResult:
        """Speak the result and end the call.

        Args:
            caller_wants_to_stop: True only if the caller asked to stop before the last question.
        """
        card = scorecard.finish(context.userdata, is_stopped_by_caller=caller_wants_to_stop)
        context.session.userdata = card
        context.session.say(f"{scorecard.summary(card)} {THANKS}", allow_interruptions=False)
        closing.hang_up(context.session)
        return ToolResult("The result is being spoken.", reply_required=False)


def _next_step(card: scorecard.Scorecard) -> str:
    if card.is_complete:
        return "ask whether the caller would like to hear the result."
    return f"ask question {card.asked_count}: {card.questions[card.asked_count - 1].text}"


@server.rtc_session(agent_name="interview")
async def interview(ctx: JobContext) -> None:
    """One call, from the greeting to the result."""
    call = build_session(
        ctx.proc, userdata=scorecard.Scorecard(), user_away_timeout=SILENCE_BEFORE_NUDGE_SECONDS
    )
    closing.watch(call)
    silence.watch(call, nudge=NUDGE, farewell=FAREWELL)
    await call.start(agent=Interviewer(), room=ctx.room)
    await ctx.connect()
    await play_background_sound(ctx, call)

"""Sees what the caller shows: a picture of their camera or screen goes to the LLM with what they
say.
"""

from collections.abc import AsyncIterable
from pathlib import Path

from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    FlushSentinel,
    JobContext,
    ModelSettings,
)
from livekit.agents.llm import ChatChunk, ChatContext, ChatMessage, Tool

from voicefleet import build_session, play_background_sound
from voicefleet.agents import closing, silence

from .eyes import Eyes

GREETING = "Hello, I can see and hear you. What would you like to show me?"
PROMPT = Path(__file__).with_name("prompt.md").read_text(encoding="utf-8")

server = AgentServer()


class Onlooker(Agent):
    """Answers from what it is told and shown."""

    def __init__(self, eyes: Eyes) -> None:
        super().__init__(instructions=PROMPT)
        self._eyes = eyes

    async def on_enter(self) -> None:
        self.session.say(GREETING)

    async def llm_node(
        self, chat_ctx: ChatContext, tools: list[Tool], model_settings: ModelSettings
    ) -> AsyncIterable[ChatChunk | str | FlushSentinel]:
        """LiveKit's own, with the picture of this moment beside the caller's last words.

        Here, and not in `on_user_turn_completed`: an answer that LiveKit begins before the turn is
        over (preemptive generation) has it too. The history stays without pictures; each would be
        sent again, and paid for, with everything that is said later.
        """
        picture = await self._eyes.look()
        if picture is not None:
            # LiveKit keeps what is changed in its own for the request after a tool call.
            chat_ctx = chat_ctx.copy()
            items = chat_ctx.items
            last = max((i for i, item in enumerate(items) if _is_callers(item)), default=len(items))
            items.insert(last, ChatMessage(role="user", content=[picture]))
        async for chunk in Agent.default.llm_node(self, chat_ctx, tools, model_settings):
            yield chunk


def _is_callers(item: object) -> bool:
    return isinstance(item, ChatMessage) and item.role == "user"


@server.rtc_session(agent_name="vision")
async def answer(ctx: JobContext) -> None:
    """One call, from the ring to the goodbye."""
    eyes = Eyes(ctx.room)
    call: AgentSession[None] = build_session(ctx.proc)
    closing.watch(call)
    silence.watch(call)
    call.once("close", lambda _: eyes.close())
    await call.start(agent=Onlooker(eyes), room=ctx.room)
    await ctx.connect()
    await play_background_sound(ctx, call)

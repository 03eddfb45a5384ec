"""A call in text: an agent's session without ears and voice, its LLM scripted."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from livekit.agents import Agent, AgentSession, APIConnectOptions, CloseEvent, llm
from livekit.agents.voice.agent_session import SessionConnectOptions
from livekit.agents.voice.run_result import RunResult

from tests.agents.scripted_llm import Reply, ScriptedLLM
from voicefleet.agents import closing, silence

# The scripted LLM fails when it is told to, so there is nothing to try again.
NO_RETRY = SessionConnectOptions(llm_conn_options=APIConnectOptions(max_retry=0))


@dataclass(frozen=True, slots=True)
class TextCall:
    session: AgentSession[Any]
    model: ScriptedLLM
    opening: RunResult[Any]

    async def say(self, text: str) -> RunResult[Any]:
        """What the caller says, and all that the agent does in answer."""
        return await self.session.run(user_input=text)

    @property
    def spoken(self) -> list[str]:
        """Everything the agent has said, in order."""
        return spoken(self.session.history.items)


@asynccontextmanager
async def answered_by(agent: Agent, *replies: Reply, **options: Any) -> AsyncIterator[TextCall]:
    """The call after the greeting, as the agent's own entrypoint sets it up; `options` are those of
    `AgentSession`.
    """
    model = ScriptedLLM(*replies)
    chosen = {
        "vad": None,
        "turn_handling": {"turn_detection": None},
        "user_away_timeout": None,
        "conn_options": NO_RETRY,
    }
    async with AgentSession[Any](llm=model, **(chosen | options)) as session:
        closing.watch(session)
        silence.watch(session)
        opening = await session.start(agent, capture_run=True)
        yield TextCall(session, model, opening)


def closed(session: AgentSession[Any]) -> asyncio.Future[CloseEvent]:
    """Done when the session has closed."""
    close: asyncio.Future[CloseEvent] = asyncio.get_running_loop().create_future()
    session.once("close", close.set_result)
    return close


def spoken(items: Iterable[llm.ChatItem]) -> list[str]:
    return [
        item.text_content or ""
        for item in items
        if isinstance(item, llm.ChatMessage) and item.role == "assistant"
    ]


def tool_outputs(chat_ctx: llm.ChatContext) -> list[str]:
    """What tools have answered, as the LLM reads it."""
    return [i.output for i in chat_ctx.items if isinstance(i, llm.FunctionCallOutput)]

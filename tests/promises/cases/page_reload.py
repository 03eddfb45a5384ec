"""Greets whoever comes; without a name, or by the name that the callers' tokens ask for."""

import asyncio
import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai

server = AgentServer(load_fnc=lambda: 0.1)


async def writes_it_up(_: JobContext) -> None:
    await asyncio.sleep(float(os.environ.get("SECONDS_AFTERWARDS", "0")))


@server.rtc_session(agent_name=os.environ.get("NAME_OF_AGENT", ""), on_session_end=writes_it_up)
async def entry(ctx: JobContext) -> None:
    await asyncio.sleep(float(os.environ.get("SECONDS_BEFOREHAND", "0")))
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    session.say("Hello, this is the city library. How can I help you?")


if __name__ == "__main__":
    cli.run_app(server)

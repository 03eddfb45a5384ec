"""Tells the platform, once the worker is registered, that this agent may be dispatched."""

import os
from pathlib import Path
from typing import Any

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai

server = AgentServer()
MARKS = Path(os.environ["MARKS"])


@server.on("worker_registered")
def registered(worker_id: str, info: Any) -> None:
    (MARKS / "registered").write_text(f"{worker_id} {server.id}")


@server.on("worker_started")
def started() -> None:
    (MARKS / "started").write_text("started")


@server.rtc_session(agent_name="announcer")
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)

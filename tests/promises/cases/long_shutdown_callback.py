"""After each call its summary is written, which takes the summariser a while."""

import asyncio
import os
from pathlib import Path

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai

server = AgentServer(shutdown_process_timeout=60, load_fnc=lambda: 0.1)
MARKS = Path(os.environ["MARKS"])


@server.rtc_session(agent_name="summarised")
async def entry(ctx: JobContext) -> None:
    seconds = float(ctx.job.metadata or 0)

    async def summarise(reason: str) -> None:
        (MARKS / f"{ctx.room.name}.begun").write_text(reason)
        await asyncio.sleep(seconds)
        (MARKS / f"{ctx.room.name}.done").write_text(reason)

    ctx.add_shutdown_callback(summarise)
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)

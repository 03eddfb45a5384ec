"""Calls that have no session, no longer one, or a second one; metadata says which."""

import asyncio
import os
from pathlib import Path

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai

server = AgentServer(load_fnc=lambda: 0.1)
MARKS = Path(os.environ["MARKS"])


async def begun(ctx: JobContext) -> AgentSession[None]:
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    return session


@server.rtc_session(agent_name="bare")
async def entry(ctx: JobContext) -> None:
    async def book(reason: str) -> None:
        (MARKS / f"{ctx.room.name}.booked").write_text(reason)

    ctx.add_shutdown_callback(book)
    await ctx.connect()
    match ctx.job.metadata:
        case "echoes":
            # Data alone, as an agent of the time before sessions.
            gone = asyncio.Event()
            await gone.wait()
        case "lingers":
            session = await begun(ctx)
            await session.aclose()
            await asyncio.sleep(3600)
        case "second":
            first = await begun(ctx)
            await first.aclose()
            second = await begun(ctx)
            second.say("Hello, this is the city library. How can I help you?")
        case "swallows":
            # Whatever goes wrong, this job goes on, cancellation included.
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    continue


if __name__ == "__main__":
    cli.run_app(server)

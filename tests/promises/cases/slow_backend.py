"""Asks its own backend for the caller's record before it connects; today the backend hangs, fails,
or says no.
"""

import asyncio
import os
from pathlib import Path

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai

server = AgentServer(load_fnc=lambda: 0.1)
MARKS = Path(os.environ["MARKS"])


@server.rtc_session(agent_name="records")
async def entry(ctx: JobContext) -> None:
    async def book(reason: str) -> None:
        (MARKS / f"{ctx.room.name}.booked").write_text(reason)

    ctx.add_shutdown_callback(book)
    match ctx.job.metadata:
        case "hangs":
            await asyncio.sleep(3600)
        case "fails":
            raise ConnectionError("backend says 503")
        case "refuses":
            ctx.shutdown(reason="caller is blocked")
            return
        case "forgets":
            return
        case "waits":
            await ctx.connect()
            await ctx.wait_for_participant(identity="somebody-else")
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)

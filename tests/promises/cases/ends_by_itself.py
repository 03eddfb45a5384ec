"""Has an end of its own for a caller who leaves; metadata says which."""

import asyncio
import os
from pathlib import Path

from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, CloseEvent, JobContext, cli
from livekit.plugins import openai

server = AgentServer(load_fnc=lambda: 0.1)
MARKS = Path(os.environ["MARKS"])
tasks = set[asyncio.Task[None]]()


async def booked(ctx: JobContext) -> None:
    await asyncio.sleep(3.0)
    (MARKS / f"{ctx.room.name}.ended").write_text("ended")


@server.rtc_session(agent_name="own-end", on_session_end=booked)
async def entry(ctx: JobContext) -> None:
    kind = ctx.job.metadata

    async def summarise(_: str) -> None:
        (MARKS / f"{ctx.room.name}.booked").write_text(kind)

    async def leave() -> None:
        await ctx.delete_room()
        ctx.shutdown(reason="nobody is left")

    async def write_down() -> None:
        await asyncio.sleep(1.0)
        (MARKS / f"{ctx.room.name}.written").write_text("written")
        ctx.shutdown(reason="written down")

    ctx.add_shutdown_callback(summarise)
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())

    @ctx.room.on("participant_disconnected")
    def left(_: rtc.RemoteParticipant) -> None:
        if kind == "leaves":
            tasks.add(asyncio.create_task(leave()))
        elif kind == "raises":
            raise RuntimeError("a defect of a listener")

    @session.on("close")
    def closed(_: CloseEvent) -> None:
        if kind == "writes":
            tasks.add(asyncio.create_task(write_down()))

    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)

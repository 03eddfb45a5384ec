"""A release that went wrong: every call of it crashes, and offers of some rooms get no answer."""

import asyncio
import ctypes

from livekit.agents import AgentServer, JobContext, JobRequest

server = AgentServer()


async def ponder(request: JobRequest) -> None:
    if request.room.name.startswith("ponder"):
        await asyncio.Event().wait()
    await request.accept()


@server.rtc_session(agent_name="assistant", on_request=ponder)
async def answer(ctx: JobContext) -> None:
    await ctx.connect()
    ctypes.string_at(0)

"""Request handlers that answer in ways of their own; metadata says which."""

import asyncio
import time

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobRequest, cli
from livekit.plugins import openai

server = AgentServer(load_fnc=lambda: 0.1)


async def ask(req: JobRequest) -> None:
    match req.job.metadata:
        case "hangs":
            await asyncio.sleep(30)
        case "blocks":
            time.sleep(1.0)  # noqa: ASYNC251
            await req.accept()
        case "twice":
            await req.reject()
            await req.accept()
        case "then raises":
            await req.accept()
            raise RuntimeError("the audit log is full")
        case "leaves":
            raise asyncio.CancelledError
        case _:
            await req.accept()


@server.rtc_session(agent_name="answers", on_request=ask)
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    session.say("Hello, this is the city library. How can I help you?")


if __name__ == "__main__":
    cli.run_app(server)

"""Takes one call and no more: its request handler has the server drain behind it."""

import asyncio

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobRequest, cli
from livekit.plugins import openai

server = AgentServer()
draining = set[asyncio.Task[None]]()


async def the_last_one(req: JobRequest) -> None:
    await req.accept()
    draining.add(asyncio.create_task(server.drain(timeout=None)))


@server.rtc_session(agent_name="once", on_request=the_last_one)
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    session.say("Hello, this is the city library. How can I help you?")


if __name__ == "__main__":
    cli.run_app(server)

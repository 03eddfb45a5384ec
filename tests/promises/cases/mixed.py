"""What the metadata of a dispatch asks for: an answer, a refusal, or one of the ends of a crash."""

import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobRequest, cli
from livekit.plugins import openai

server = AgentServer()


async def takes(request: JobRequest) -> None:
    if request.job.metadata == "refused":
        await request.reject()
    else:
        await request.accept()


@server.rtc_session(agent_name="mixed", on_request=takes)
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    if ctx.job.metadata == "raises":
        raise ValueError("the file's own")
    if ctx.job.metadata == "dies":
        os._exit(7)
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    session.say("This is the city library.")


if __name__ == "__main__":
    cli.run_app(server)

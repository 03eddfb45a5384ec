"""One caller at a time: the request handler looks at what the server runs already."""

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobRequest, cli
from livekit.plugins import openai

server = AgentServer()


async def only_one(req: JobRequest) -> None:
    if len(server.active_jobs) >= 1:
        await req.reject(terminate=False)
    else:
        await req.accept(name="solo", attributes={"tenant": "north"})


@server.rtc_session(agent_name="solo", on_request=only_one)
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    session.say("Hello, this is the city library. How can I help you?")


if __name__ == "__main__":
    cli.run_app(server)

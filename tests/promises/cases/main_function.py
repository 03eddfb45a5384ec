"""The older style with a function main, a request handler among the options, and arguments."""

import argparse

from livekit.agents import Agent, AgentSession, JobContext, JobRequest, WorkerOptions, cli
from livekit.plugins import openai


async def on_request(req: JobRequest) -> None:
    if req.job.metadata == "blocked":
        await req.reject()
    else:
        await req.accept(name="Main", attributes={"tenant": "north"})


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    session.say("Hello, this is the city library. How can I help you?")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tenant", default="north")
    parser.parse_known_args()
    options = WorkerOptions(
        entrypoint_fnc=entrypoint,
        request_fnc=on_request,
        agent_name="main-style",
        num_idle_processes=1,
        port=8085,
    )
    cli.run_app(options)


if __name__ == "__main__":
    main()

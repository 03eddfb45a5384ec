"""Has an end of its own for SIGTERM, from before it was a voice agent."""

import signal
import sys

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai


def leave(*_: object) -> None:
    sys.stdout.write("BYE\n")
    sys.stdout.flush()
    sys.exit(0)


signal.signal(signal.SIGTERM, leave)
server = AgentServer(load_fnc=lambda: 0.1)


@server.rtc_session(agent_name="polite")
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    session.say("Hello, this is the city library. How can I help you?")


if __name__ == "__main__":
    cli.run_app(server)

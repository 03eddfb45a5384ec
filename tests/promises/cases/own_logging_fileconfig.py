"""Has its logging in an ini file, which also silences whoever logged before it; and has handlers of
its own by name.
"""

import logging.config
import os
import sys
from pathlib import Path

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai

logging.config.fileConfig(Path(__file__).with_suffix(".ini"))
log = logging.getLogger("orders")
log.setLevel(logging.INFO)
log.addHandler(logging.StreamHandler(sys.stdout))
log.propagate = False
logging.disable(logging.WARNING)
server = AgentServer()


@server.rtc_session(agent_name="orders")
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    log.info("order for a caller with key %s", os.environ["OPENAI_API_KEY"] * 4)
    session.say("Hello, this is the city library. How can I help you?")
    if ctx.job.metadata == "crash":
        os.kill(os.getpid(), 9)


if __name__ == "__main__":
    cli.run_app(server)

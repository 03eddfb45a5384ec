"""Logs as the company's other services do, with the standard library's own means."""

import asyncio
import logging.config
import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai

logging.config.dictConfig(
    {
        "version": 1,
        "formatters": {"line": {"format": "SVC %(levelname)s %(name)s %(message)s"}},
        "handlers": {
            "out": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "line",
            }
        },
        "root": {"level": "INFO", "handlers": ["out"]},
    }
)
log = logging.getLogger("orders")
server = AgentServer()


@server.rtc_session(agent_name="orders")
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    log.info("order for a caller with key %s", os.environ["OPENAI_API_KEY"] * 4)
    session.say("Hello, this is the city library. How can I help you?")
    if ctx.job.metadata == "crash":
        await asyncio.sleep(2)
        os.kill(os.getpid(), 9)
    if ctx.job.metadata == "leak":
        hoard = list[bytes]()
        for _ in range(400):
            hoard.append(os.urandom(1024 * 1024))
            await asyncio.sleep(0.01)
        await asyncio.sleep(60)


if __name__ == "__main__":
    cli.run_app(server)

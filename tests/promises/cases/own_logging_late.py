"""Sets up its logging where the job begins: in the set-up of the process, and again in the call."""

import logging.config
import os
from typing import Any

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobProcess, cli
from livekit.plugins import openai

server = AgentServer()
log = logging.getLogger("orders")
LOGGING: dict[str, Any] = {
    "version": 1,
    "formatters": {"line": {"format": "SVC %(levelname)s %(name)s %(message)s"}},
    "handlers": {
        "out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "line"}
    },
    "root": {"level": "INFO", "handlers": ["out"]},
    "loggers": {"orders": {}},
}


def set_up(_: JobProcess) -> None:
    logging.config.dictConfig(LOGGING)


server.setup_fnc = set_up


@server.rtc_session(agent_name="orders")
async def entry(ctx: JobContext) -> None:
    logging.basicConfig(level="INFO", force=True, format="SVC %(levelname)s %(name)s %(message)s")
    # Switches off every logger that it does not name.
    logging.config.dictConfig(LOGGING)
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    log.info("order for a caller with key %s", os.environ["OPENAI_API_KEY"] * 4)
    session.say("Hello, this is the city library. How can I help you?")
    if ctx.job.metadata == "crash":
        os.kill(os.getpid(), 9)


if __name__ == "__main__":
    cli.run_app(server)

"""Grew up as a script: it changes folder, reads its arguments, turns warnings into errors, chooses
an event loop, takes SIGINT, and has a thread that works from the import on.
"""

import asyncio
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai

MARKS = Path(os.environ["MARKS"])


class OwnPolicy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        (MARKS / "policy").write_text("used")
        return super().new_event_loop()


def beat() -> None:
    while True:
        (MARKS / f"beat-{os.getpid()}").write_text("alive")
        time.sleep(0.5)


os.chdir(MARKS)
sys.argv.append("--flag-of-its-own")
warnings.simplefilter("error")
asyncio.set_event_loop_policy(OwnPolicy())
signal.signal(signal.SIGINT, lambda *_: sys.exit(3))
sys.excepthook = lambda *_: None
threading.Thread(target=beat, daemon=True).start()
server = AgentServer()


@server.rtc_session(agent_name="script")
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    session.say("Hello, this is the city library. How can I help you?")


if __name__ == "__main__":
    cli.run_app(server)

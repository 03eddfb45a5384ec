"""A server class of the company's own, which writes down how many calls it has every second."""

import asyncio
import os
from pathlib import Path

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai

MARKS = Path(os.environ["MARKS"])


class CountingServer(AgentServer):
    def __init__(self) -> None:
        super().__init__(load_threshold=0.9)
        self._counting: asyncio.Task[None] | None = None
        self.on("worker_started", self._begin_counting)

    def _begin_counting(self) -> None:
        self._counting = asyncio.create_task(self._count())

    async def _count(self) -> None:
        while not self.draining:
            (MARKS / "active").write_text(f"{self.id} {len(self.active_jobs)}")
            await asyncio.sleep(0.5)


server = CountingServer()
server.update_options(num_idle_processes=1)


@server.rtc_session(agent_name="counted")
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    session.say("Hello, this is the city library. How can I help you?")


if __name__ == "__main__":
    cli.run_app(server)

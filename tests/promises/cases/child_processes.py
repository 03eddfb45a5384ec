"""Starts a transcoder for the call and forgets it; and a library's thread that never ends."""

import os
import subprocess
import threading
import time
from pathlib import Path

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobExecutorType, cli
from livekit.plugins import openai

server = AgentServer(
    load_fnc=lambda: 0.1,
    job_executor_type=JobExecutorType.THREAD,
    drain_timeout=5,
    job_memory_limit_mb=900,
)
MARKS = Path(os.environ["MARKS"])


@server.rtc_session(agent_name="recorder")
async def entry(ctx: JobContext) -> None:
    ctx.log_context_fields = {"tenant": "north", "order": 4711}
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    if ctx.job.metadata == "thread":
        threading.Thread(target=time.sleep, args=(3600,), name="library", daemon=False).start()
    pids = [subprocess.Popen(["sleep", seconds]).pid for seconds in ("5", "900")]  # noqa: ASYNC220
    (MARKS / f"{ctx.room.name}.pids").write_text(" ".join(map(str, [os.getpid(), *pids])))


if __name__ == "__main__":
    cli.run_app(server)

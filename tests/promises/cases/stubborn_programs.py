"""Programs that do not want to end with their call; metadata says which."""

import multiprocessing
import os
import subprocess
import time
from pathlib import Path

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai

server = AgentServer(load_fnc=lambda: 0.1)
MARKS = Path(os.environ["MARKS"])


def started(kind: str) -> list[int]:
    match kind:
        case "deaf":
            return [subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 900 & wait; sleep 900"]).pid]
        case "detached":
            said = subprocess.run(
                ["sh", "-c", "setsid sh -c 'sleep 900' >/dev/null 2>&1 & echo $!"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            return [int(said)]
        case _:
            process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(900,))
            process.start()
            return [process.pid or 0]


@server.rtc_session(agent_name="stubborn")
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    pids = [os.getpid(), *started(ctx.job.metadata)]
    (MARKS / f"{ctx.room.name}.pids").write_text(" ".join(map(str, pids)))


if __name__ == "__main__":
    cli.run_app(server)

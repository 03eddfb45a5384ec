"""The request handler asks a program about the caller; so does a listener of the server, which
leaves its program on.
"""

import asyncio
import os
import subprocess
from pathlib import Path

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobRequest, cli
from livekit.plugins import openai

server = AgentServer(load_fnc=lambda: 0.1)
MARKS = Path(os.environ["MARKS"])
sidecar: list[subprocess.Popen[bytes]] = []


@server.on("worker_started")
def started() -> None:
    sidecar.append(subprocess.Popen(["sleep", "900"]))
    (MARKS / "sidecar").write_text(str(sidecar[0].pid))


async def ask(req: JobRequest) -> None:
    asking = await asyncio.create_subprocess_exec(
        "sh", "-c", "sleep 1; echo north", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asking.communicate()
    if asking.returncode == 0:
        await req.accept(attributes={"tenant": said.decode().strip()})
    else:
        await req.reject()


@server.rtc_session(agent_name="asks", on_request=ask)
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    if ctx.job.metadata == "dies":
        os.kill(os.getpid(), 9)
    session.say("Hello, this is the city library. How can I help you?")


if __name__ == "__main__":
    cli.run_app(server)

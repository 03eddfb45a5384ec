"""The assistant, in a file in which some calls misbehave: those whose room is named for it."""

import asyncio
import ctypes
import time

from livekit.agents import AgentServer, JobContext

from voicefleet.agents.assistant import agent as assistant

# From the drill's warning to its limit is more than the 5 s between two of LiveKit's looks.
LEAK_BYTES_A_SECOND = 40 * 1024**2


async def leak() -> None:
    held: list[bytes] = []
    while True:
        held.append(b"x" * LEAK_BYTES_A_SECOND)
        await asyncio.sleep(1.0)


async def crash() -> None:
    ctypes.string_at(0)


async def block() -> None:
    time.sleep(300)  # noqa: ASYNC251


async def fail() -> None:
    raise RuntimeError("a defect of the agent file")


DRILLS = {"leak": leak, "crash": crash, "block": block, "fail": fail}

server = AgentServer()


@server.rtc_session(agent_name="drill")
async def answer(ctx: JobContext) -> None:
    drill = DRILLS.get(ctx.job.room.name.partition("-")[0])
    if drill is None:
        await assistant.answer(ctx)
        return
    await ctx.connect()
    await asyncio.sleep(1.0)
    await drill()

"""The assistant, in a file in which some calls misbehave: those whose room is named for it, when
they have talked for a while.
"""

import asyncio
import os
import signal

from livekit.agents import AgentServer, JobContext

from voicefleet.agents.assistant import agent as assistant

TALKS_SECONDS = 15.0
# Of 24 MiB a second, 5 s fit between two of LiveKit's looks and below the pod's own limit.
LEAK_BYTES_A_SECOND = 24 * 1024**2

server = AgentServer()


async def leak() -> None:
    held: list[bytes] = []
    while True:
        held.append(b"x" * LEAK_BYTES_A_SECOND)
        await asyncio.sleep(1.0)


async def die() -> None:
    """With programs that nobody would look after: one that ends by itself, one that does not, and
    one whose own parent has gone.
    """
    for command in (["sleep", "1"], ["sleep", "900"], ["sh", "-c", "sleep 900 & exit 0"]):
        await asyncio.create_subprocess_exec(*command)
    await asyncio.sleep(3.0)
    os.kill(os.getpid(), signal.SIGKILL)


DRILLS = {"leak": leak, "die": die}


@server.rtc_session(agent_name="assistant")
async def answer(ctx: JobContext) -> None:
    await assistant.answer(ctx)
    drill = DRILLS.get(ctx.job.room.name.partition("-")[0])
    # Once: its call goes on in another process.
    if drill is not None and not getattr(ctx, "is_resumed", False):
        await asyncio.sleep(TALKS_SECONDS)
        await drill()

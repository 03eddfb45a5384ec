"""A stock agent file, as LiveKit's documentation shows one: it does not know voicefleet, and
`python -m livekit.agents start` runs it as it is. For the comparison, and for the tests.

The name of a room can make it ill, once: `leak-MIB-…` takes so much memory, little by little, and
holds it; `block-SECONDS-…` stops the event loop for so long.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    JobContext,
    JobProcess,
    cli,
    function_tool,
)
from livekit.plugins import openai, silero

GREETING = "Hello, this is the city library."

LEAK_STEP_MIB = 20
LEAK_STEP_SECONDS = 0.25

# A free port for LiveKit's health endpoint, so that several run on one machine. All else is
# LiveKit's default.
server = AgentServer(host="127.0.0.1", port=0)


class Assistant(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You are the telephone of a city library.")

    async def on_enter(self) -> None:
        self.session.say(GREETING)

    @function_tool
    async def opening_hours(self, day: str) -> str:
        """The opening hours of one day of the week."""
        return f"On {day}: ten to four"


def prewarm(proc: JobProcess) -> None:
    proc.userdata["vad"] = silero.VAD.load()


server.setup_fnc = prewarm


@server.rtc_session(agent_name="compare")
async def answer(ctx: JobContext) -> None:
    session: AgentSession[None] = AgentSession(
        stt=openai.STT(),
        llm=openai.LLM(model="gpt-4.1-mini"),
        tts=openai.TTS(),
        vad=ctx.proc.userdata["vad"],
    )
    await session.start(agent=Assistant(), room=ctx.room)
    await ctx.connect()
    match ctx.job.room.name.split("-") if is_first_time(ctx.job.room.name) else ():
        case ["leak", mib, *_]:
            await leak(ctx.proc, int(mib))
        case ["block", seconds, *_]:
            time.sleep(int(seconds))  # noqa: ASYNC251 - to block the loop is what it is for


def is_first_time(room: str) -> bool:
    try:
        Path(tempfile.gettempdir(), room).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


async def leak(proc: JobProcess, most_mib: int) -> None:
    held: list[bytes] = []
    proc.userdata["leaked"] = held
    while len(held) * LEAK_STEP_MIB < most_mib:
        held.append(b"\xff" * (LEAK_STEP_MIB * 1024**2))
        await asyncio.sleep(LEAK_STEP_SECONDS)


if __name__ == "__main__":
    cli.run_app(server)

"""Deletes the room when its session closes, and looks something up in a tool, slowly."""

import asyncio

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, function_tool
from livekit.agents.voice.room_io import RoomOptions
from livekit.plugins import openai, silero

GREETING = "Hello, this is the city library."

server = AgentServer()


class Librarian(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")

    @function_tool
    async def opening_hours(self, day: str) -> str:
        """The opening hours of one day of the week."""
        await asyncio.sleep(3.0)
        return f"On {day}: ten to four"


@server.rtc_session(agent_name="librarian")
async def entry(ctx: JobContext) -> None:
    session = AgentSession[None](
        stt=openai.STT(), llm=openai.LLM(), tts=openai.TTS(), vad=silero.VAD.load()
    )
    options = RoomOptions(delete_room_on_close=True)
    await session.start(agent=Librarian(), room=ctx.room, room_options=options)
    await ctx.connect()
    session.say(GREETING)


if __name__ == "__main__":
    cli.run_app(server)

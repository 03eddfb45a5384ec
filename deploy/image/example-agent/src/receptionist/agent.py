"""A receptionist that says whether the museum is open. LiveKit alone can run this file too."""

from datetime import datetime

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, function_tool
from livekit.plugins import cartesia, deepgram, openai

from . import hours

server = AgentServer()


class Receptionist(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You answer the phone of a museum. Be brief and friendly.")

    async def on_enter(self) -> None:
        await self.session.say("Hello, this is the museum. How can I help you?")

    @function_tool
    async def opening_hours(self) -> str:
        """Whether the museum is open now."""
        return hours.describe(datetime.now())


@server.rtc_session(agent_name="receptionist")
async def entrypoint(ctx: JobContext) -> None:
    session = AgentSession(stt=deepgram.STT(), llm=openai.LLM(), tts=cartesia.TTS())
    await session.start(Receptionist(), room=ctx.room)

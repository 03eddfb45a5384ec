"""An agent as LiveKit's documentation shows one; it has never heard of voicefleet."""

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


class Assistant(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You are the telephone of a city library.")

    @function_tool
    async def opening_hours(self, day: str) -> str:
        """The opening hours of one day of the week."""
        return f"On {day}: ten to four"


server = AgentServer()


def prewarm(proc: JobProcess) -> None:
    proc.userdata["vad"] = silero.VAD.load()


server.setup_fnc = prewarm


@server.rtc_session(agent_name="my-agent")
async def my_agent(ctx: JobContext) -> None:
    session: AgentSession[None] = AgentSession(
        stt=openai.STT(),
        llm=openai.LLM(model="gpt-4.1-mini"),
        tts=openai.TTS(),
        vad=ctx.proc.userdata["vad"],
    )
    await session.start(agent=Assistant(), room=ctx.room)
    await ctx.connect()
    await session.generate_reply(instructions="Greet the caller and offer your help.")


if __name__ == "__main__":
    cli.run_app(server)

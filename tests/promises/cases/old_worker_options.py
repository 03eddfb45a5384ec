"""The way agents were written until 2025: options, and run_app under the guard."""

from livekit.agents import Agent, AgentSession, JobContext, JobProcess, WorkerOptions, cli
from livekit.plugins import openai, silero


def prewarm(proc: JobProcess) -> None:
    proc.userdata["vad"] = silero.VAD.load()


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](vad=ctx.proc.userdata["vad"], tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    session.say("Hello, this is the city library. How can I help you?")


if __name__ == "__main__":
    cli.run_app(
        WorkerOptions(entrypoint_fnc=entrypoint, prewarm_fnc=prewarm, agent_name="old-style")
    )

"""The request handler asks a directory; metadata says how it goes."""

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobRequest, cli
from livekit.plugins import openai

server = AgentServer(load_fnc=lambda: 0.1)


async def ask(req: JobRequest) -> None:
    match req.job.metadata:
        case "raises":
            raise KeyError("no such tenant")
        case "rejects":
            await req.reject()
        case "silent":
            return
        case _:
            await req.accept(
                name="Desk", identity="desk-1", metadata="m", attributes={"tenant": "north"}
            )


@server.rtc_session(agent_name="asked", on_request=ask)
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)

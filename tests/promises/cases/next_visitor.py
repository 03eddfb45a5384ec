"""A kiosk's room: several visitors; when one whom the agent serves has gone, it serves the next who
is there.
"""

import asyncio

from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    CloseEvent,
    JobContext,
    RoomInputOptions,
    cli,
)
from livekit.plugins import openai

server = AgentServer(load_fnc=lambda: 0.1)
serving = set[asyncio.Task[None]]()


@server.rtc_session(agent_name="kiosk")
async def entry(ctx: JobContext) -> None:
    await ctx.connect()

    async def serve(identity: str) -> None:
        session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())

        @session.on("close")
        def closed(_: CloseEvent) -> None:
            there = [one.identity for one in ctx.room.remote_participants.values()]
            if waiting := [one for one in there if one != identity]:
                serving.add(asyncio.create_task(serve(waiting[0])))

        await session.start(
            agent=Agent(instructions="Be brief."),
            room=ctx.room,
            room_input_options=RoomInputOptions(participant_identity=identity),
        )
        session.say(f"Good day {identity}.")

    first = await ctx.wait_for_participant()
    await serve(first.identity)


if __name__ == "__main__":
    cli.run_app(server)

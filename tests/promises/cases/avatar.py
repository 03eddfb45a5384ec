"""An avatar speaks for the agent: a second participant with a face, in a program of its own."""

import asyncio
import os
import sys
from pathlib import Path

from livekit import api, rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.agents.types import ATTRIBUTE_PUBLISH_ON_BEHALF
from livekit.agents.voice.avatar import DataStreamAudioOutput
from livekit.plugins import openai

PROGRAM = Path(__file__).with_name("avatar_program.py")

server = AgentServer()


def token(ctx: JobContext) -> str:
    own = ctx.local_participant_identity
    grants = api.VideoGrants(room_join=True, room=ctx.room.name)
    made = api.AccessToken().with_identity("avatar").with_grants(grants)
    # Some services join as an agent does, some as anybody.
    made = made.with_kind(os.environ["KIND_OF_AVATAR"])  # type: ignore[arg-type]
    return made.with_attributes({ATTRIBUTE_PUBLISH_ON_BEHALF: own}).to_jwt()


@server.rtc_session()
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    arguments = (str(PROGRAM), os.environ["LIVEKIT_URL"], token(ctx))
    await asyncio.create_subprocess_exec(sys.executable, *arguments)
    session = AgentSession[None](tts=openai.TTS(), llm=openai.LLM())
    session.output.audio = DataStreamAudioOutput(
        ctx.room,
        destination_identity="avatar",
        sample_rate=24_000,
        wait_remote_track=rtc.TrackKind.KIND_VIDEO,
    )
    await session.start(agent=Agent(instructions="Be brief."), room=ctx.room)
    session.say("Hello, this is the city library. How can I help you?")


if __name__ == "__main__":
    cli.run_app(server)

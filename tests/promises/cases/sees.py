"""Samples the caller's video into the LLM's context, in the way of LiveKit's documentation: the
newest frame goes with each turn.
"""

import asyncio

from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, get_job_context
from livekit.agents.llm import ChatContext, ChatMessage, ImageContent
from livekit.plugins import openai, silero

server = AgentServer()


class Onlooker(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="Say what you see.")
        self._frame: rtc.VideoFrame | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def on_enter(self) -> None:
        @get_job_context().room.on("track_subscribed")
        def watch(track: rtc.Track, *_: object) -> None:
            if track.kind == rtc.TrackKind.KIND_VIDEO:
                self._tasks.append(asyncio.create_task(self._read(rtc.VideoStream(track))))

        for participant in get_job_context().room.remote_participants.values():
            for publication in participant.track_publications.values():
                if publication.track is not None:
                    watch(publication.track)

    async def _read(self, stream: rtc.VideoStream) -> None:
        async for event in stream:
            self._frame = event.frame

    async def on_user_turn_completed(self, turn_ctx: ChatContext, new_message: ChatMessage) -> None:
        if self._frame is not None:
            new_message.content.append(ImageContent(image=self._frame))


@server.rtc_session()
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](
        stt=openai.STT(),
        llm=openai.LLM(),
        tts=openai.TTS(),
        vad=silero.VAD.load(),
        # An answer that is begun before the turn is over has no picture, and LiveKit keeps it.
        turn_handling={"preemptive_generation": {"enabled": False}},
    )
    await session.start(agent=Onlooker(), room=ctx.room)
    session.say("Hello, I can see and hear you. What would you like to show me?")


if __name__ == "__main__":
    cli.run_app(server)

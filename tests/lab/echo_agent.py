"""An agent in the stock style without any provider and without an `AgentSession`: it greets, and
answers whatever it hears with one sentence; it stops when it is interrupted.

It writes what it heard and said as the `lk.transcription` text streams that a room carries: all
that a caller can know of such an agent.
"""

import asyncio
from collections.abc import AsyncIterator

from livekit import rtc
from livekit.agents import AgentServer, AutoSubscribe, JobContext
from livekit.agents.types import ATTRIBUTE_TRANSCRIPTION_FINAL, TOPIC_TRANSCRIPTION

from tests.lab.echo_script import ANSWER, GREETING, QUESTIONS
from voicefleet.lab import recognition, speech
from voicefleet.lab.listening import SOUND_RMS, loudness

RATE = 24_000
FRAME = 2 * RATE // 100
EAR_RATE = 16_000
SPEECH_FRAMES, SILENCE_FRAMES = 20, 50

server = AgentServer(load_fnc=lambda: 0.0, load_threshold=0.99, num_idle_processes=1, port=0)


class Mouth:
    """Says one thing at a time; the next one, or silence, takes its place."""

    def __init__(self, room: rtc.Room) -> None:
        self._room = room
        self._source = rtc.AudioSource(RATE, 1, queue_size_ms=100)
        self._saying: asyncio.Task[None] | None = None

    async def publish(self) -> None:
        track = rtc.LocalAudioTrack.create_audio_track("voice", self._source)
        await self._room.local_participant.publish_track(track)

    def say(self, text: str) -> None:
        self._saying = asyncio.create_task(self._say(text), name="say")

    def stop(self) -> None:
        if self._saying is not None and not self._saying.done():
            self._saying.cancel()
            self._source.clear_queue()

    async def _say(self, text: str) -> None:
        pcm = speech.synthesize(text, sample_rate=RATE).pcm
        for start in range(0, len(pcm), FRAME):
            piece = pcm[start : start + FRAME].ljust(FRAME, b"\0")
            await self._source.capture_frame(rtc.AudioFrame(piece, RATE, 1, FRAME // 2))
        await write(self._room, self._room.local_participant.identity, text)


async def write(room: rtc.Room, whose: str, text: str) -> None:
    stream = await room.local_participant.stream_text(
        topic=TOPIC_TRANSCRIPTION,
        sender_identity=whose,
        attributes={ATTRIBUTE_TRANSCRIPTION_FINAL: "true"},
    )
    await stream.write(text)
    await stream.aclose()


async def turns(stream: rtc.AudioStream, mouth: Mouth) -> AsyncIterator[bytes]:
    """The caller's utterances, cut by loudness; each silences the mouth when it begins."""
    loud, silent, pcm = 0, 0, b""
    async for event in stream:
        frame = bytes(event.frame.data)
        pcm = (pcm + frame) if loud else (pcm + frame)[-EAR_RATE:]
        is_loud = loudness(frame) >= SOUND_RMS
        loud, silent = loud + is_loud, 0 if is_loud else silent + 1
        if loud == SPEECH_FRAMES and is_loud:
            mouth.stop()
        if silent >= SILENCE_FRAMES and loud:
            if loud >= SPEECH_FRAMES:
                yield pcm
            loud, pcm = 0, b""


@server.rtc_session(agent_name="lab-echo")
async def entrypoint(ctx: JobContext) -> None:
    gone = asyncio.Event()
    ctx.room.on("disconnected", lambda _reason: gone.set())
    await ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)
    caller = await ctx.wait_for_participant()
    mouth = Mouth(ctx.room)
    await mouth.publish()
    mouth.say(GREETING)
    echoing = asyncio.create_task(echo(ctx.room, caller, mouth), name="echo")
    await gone.wait()
    echoing.cancel()


async def echo(room: rtc.Room, caller: rtc.RemoteParticipant, mouth: Mouth) -> None:
    ears = await asyncio.to_thread(recognition.Recognizer, QUESTIONS, EAR_RATE)
    stream = rtc.AudioStream.from_participant(
        participant=caller,
        track_source=rtc.TrackSource.SOURCE_MICROPHONE,
        sample_rate=EAR_RATE,
        frame_size_ms=10,
    )
    async for pcm in turns(stream, mouth):
        ears.feed(pcm)
        await write(room, caller.identity, ears.finish())
        mouth.say(ANSWER)

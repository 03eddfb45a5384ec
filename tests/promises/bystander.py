"""Somebody in a room who only listens, to each track by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from livekit import rtc

from voicefleet.lab import line
from voicefleet.lab.line import Address
from voicefleet.lab.listening import loudness

SAMPLE_RATE = 16_000
FRAME_MS = 20
# Of 32,767; what a decoder makes of silence is nothing, and the softest of our sounds has 25.
SOUND_RMS = 15.0
NOW_SECONDS = 0.1
A_WHILE_SECONDS = 0.5


@dataclass(slots=True)
class Bystander:
    """`last_sound_at` is when each track was last heard, by its name, in the event loop's time."""

    last_sound_at: dict[str, float] = field(default_factory=dict)

    def hears_behind(self, sound: str, voice: str) -> bool:
        """The sound now, and for a while nothing of the voice that it has heard before."""
        if not {sound, voice} <= self.last_sound_at.keys():
            return False
        now = asyncio.get_running_loop().time()
        is_silent = now - self.last_sound_at[voice] > A_WHILE_SECONDS
        return is_silent and now - self.last_sound_at[sound] < NOW_SECONDS

    async def listen(self, name: str, track: rtc.Track) -> None:
        stream = rtc.AudioStream.from_track(
            track=track, sample_rate=SAMPLE_RATE, num_channels=1, frame_size_ms=FRAME_MS
        )
        try:
            async for event in stream:
                if loudness(bytes(event.frame.data)) >= SOUND_RMS:
                    self.last_sound_at[name] = asyncio.get_running_loop().time()
        finally:
            await stream.aclose()


@asynccontextmanager
async def joined(up: Address) -> AsyncIterator[Bystander]:
    """In the room for as long as the block lasts, without a microphone."""
    room, one = rtc.Room(), Bystander()
    listening: list[asyncio.Task[None]] = []

    def on_track(
        track: rtc.Track, publication: rtc.RemoteTrackPublication, _: rtc.RemoteParticipant
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            work = one.listen(publication.name, track)
            listening.append(asyncio.create_task(work, name=f"listening to {publication.name}"))

    room.on("track_subscribed", on_track)
    await room.connect(up.url, up.token())
    try:
        yield one
    finally:
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        await line.leave(room)

"""Somebody in a room who speaks and reads along, for tests with more than one caller."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from livekit import rtc
from livekit.agents.types import ATTRIBUTE_TRANSCRIPTION_FINAL, TOPIC_TRANSCRIPTION

from voicefleet.lab import line, microphone, speech
from voicefleet.lab.line import Address
from voicefleet.lab.microphone import Microphone

# Encoder, network and jitter buffer hold so much sound, and who hangs up takes it along. A thumb
# takes longer, and recognisers wait longer still for the end of a sentence.
LINE_SECONDS = 0.2


@dataclass(slots=True)
class Participant:
    """`written` is every final line that the room was shown, with whose words they are."""

    room: rtc.Room
    microphone: Microphone
    written: list[tuple[str, str]] = field(default_factory=list)
    _reading: set[asyncio.Task[None]] = field(default_factory=set)

    async def say(self, text: str) -> None:
        """Returns on the last word: as soon as its sound has had time to arrive."""
        pcm = await asyncio.to_thread(
            lambda: speech.synthesize(text, sample_rate=microphone.SAMPLE_RATE).pcm
        )
        spoken = await self.microphone.say(pcm)
        arrived_at = spoken.ended_at + LINE_SECONDS
        await asyncio.sleep(max(0.0, arrived_at - asyncio.get_running_loop().time()))

    def read(self, reader: rtc.TextStreamReader, identity: str) -> None:
        task = asyncio.create_task(self._read(reader, identity), name="participant-reading")
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read(self, reader: rtc.TextStreamReader, identity: str) -> None:
        text = await reader.read_all()
        if (reader.info.attributes or {}).get(ATTRIBUTE_TRANSCRIPTION_FINAL) == "true":
            self.written.append((identity, text))


@asynccontextmanager
async def joined(up: Address) -> AsyncIterator[Participant]:
    """In the room for as long as the block lasts, with an open microphone."""
    room = rtc.Room()
    async with Microphone() as mouth:
        one = Participant(room, mouth)
        room.register_text_stream_handler(TOPIC_TRANSCRIPTION, one.read)
        await room.connect(up.url, up.token())
        try:
            await mouth.publish(room)
            yield one
        finally:
            await line.leave(room)

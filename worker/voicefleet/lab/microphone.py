"""The caller's microphone: a track that always flows, with silence between utterances."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from livekit import rtc

from voicefleet.lab.fed_source import FedSource

SAMPLE_RATE = 48_000
FRAME_SECONDS = 0.01
FRAME_SAMPLES = 480
SILENCE = bytes(2 * FRAME_SAMPLES)

# How far ahead of its playout a frame is handed over: it bridges a busy event loop.
QUEUE_MS = 100

# About -45 dB of full scale: softer than any speech we make, louder than the tail it fades with.
VOICED_RMS = 180.0


@dataclass(frozen=True, slots=True)
class Spoken:
    """When the first and the last voiced sample left the microphone, in the event loop's time."""

    started_at: float
    ended_at: float


class Microphone(FedSource[rtc.AudioSource]):
    """An audio source that is fed by a task of its own while the block lasts.

    When a sample is played out: libwebrtc takes 10 ms from the source's queue every 10 ms, so a
    frame leaves when all that is queued before it has left. The source estimates its queue from
    what was captured and when (`AudioSource.queued_duration`), right to within one such tick.
    """

    def __init__(self) -> None:
        source = rtc.AudioSource(SAMPLE_RATE, 1, queue_size_ms=QUEUE_MS)
        super().__init__(source, "caller-microphone")
        self._utterance: _Utterance | None = None

    async def publish(self, room: rtc.Room) -> None:
        track = rtc.LocalAudioTrack.create_audio_track(self._name, self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await room.local_participant.publish_track(track, options)

    async def say(self, pcm: bytes) -> Spoken:
        """Speak 16-bit mono at SAMPLE_RATE; returns when the last of it has been handed over, up to
        QUEUE_MS before it is heard.
        """
        assert self._feeding is not None
        self._utterance = utterance = _Utterance(pcm, *voiced_frames(pcm))
        both: set[asyncio.Future[Any]] = {utterance.spoken, self._feeding}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if self._feeding.done():
            self._feeding.result()
        return utterance.spoken.result()

    async def _feed(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            utterance = self._utterance
            pcm = utterance.take_frame() if utterance else SILENCE
            await self._source.capture_frame(rtc.AudioFrame(pcm, SAMPLE_RATE, 1, FRAME_SAMPLES))
            if utterance:
                utterance.frame_leaves_at(loop.time() + self._source.queued_duration)
                self._utterance = None if utterance.is_over else utterance


@dataclass(slots=True)
class _Utterance:
    """What is being said, and how much of it has been handed over."""

    pcm: bytes
    first_voiced: int
    last_voiced: int
    frames: int = 0
    started_at: float = 0.0
    ended_at: float = 0.0
    spoken: asyncio.Future[Spoken] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def is_over(self) -> bool:
        return self.frames * len(SILENCE) >= len(self.pcm)

    def take_frame(self) -> bytes:
        start = self.frames * len(SILENCE)
        self.frames += 1
        return self.pcm[start : start + len(SILENCE)].ljust(len(SILENCE), b"\0")

    def frame_leaves_at(self, at: float) -> None:
        """The frame taken last has left completely at this time."""
        if self.frames - 1 == self.first_voiced:
            self.started_at = at - FRAME_SECONDS
        if self.frames - 1 == self.last_voiced:
            self.ended_at = at
        if self.is_over and not self.spoken.done():
            self.spoken.set_result(Spoken(self.started_at, self.ended_at))


def voiced_frames(pcm: bytes) -> tuple[int, int]:
    """The first and the last 10 ms frame in which there is sound; all of it, if there is none."""
    count = max(1, -(-len(pcm) // len(SILENCE)))
    samples = np.frombuffer(pcm.ljust(count * len(SILENCE), b"\0"), dtype="<i2")
    frames = samples.reshape(count, FRAME_SAMPLES).astype(np.float64)
    voiced = np.flatnonzero(np.sqrt((frames**2).mean(axis=1)) >= VOICED_RMS)
    return (int(voiced[0]), int(voiced[-1])) if len(voiced) else (0, count - 1)

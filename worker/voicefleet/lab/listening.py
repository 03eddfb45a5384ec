"""The caller's ears: when the agent makes a sound, when it stops, and which words those were."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from livekit import rtc

from voicefleet.lab import recognition
from voicefleet.lab.changes import Changes

SAMPLE_RATE = 16_000
FRAME_MS = 10
FRAME_SECONDS = FRAME_MS / 1000

# About -45 dB of full scale. What a decoder makes of silence is far softer, speech far louder.
SOUND_RMS = 180.0
# A click is no speech: sound counts from the first of so many loud frames in a row.
ONSET_FRAMES = 3
# Longer than the pause between two sentences, shorter than the time an agent takes to answer.
UTTERANCE_ENDS_AFTER_SECONDS = 0.6
# The soft beginning of a word lies before the sound is loud enough to be noticed.
LEAD_IN_FRAMES = 25


@dataclass(slots=True)
class Utterance:
    """What the agent said without a long pause. Times are the event loop's; `text` comes later."""

    started_at: float
    last_sound_at: float
    is_over: bool = False
    text: str | None = None


class Transcriber:
    """A recogniser in a thread of its own, so that the event loop's times stay exact."""

    def __init__(self, phrases: Sequence[str]) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="caller-recognition")
        self._recognizer = recognition.Recognizer(phrases, SAMPLE_RATE) if phrases else None
        self._failed: BaseException | None = None

    def feed(self, pcm: bytes) -> None:
        if self._recognizer is not None:
            self._thread.submit(self._recognizer.feed, pcm).add_done_callback(self._remember)

    def finish(self) -> "asyncio.Future[str]":
        """The words since the last time."""
        return asyncio.wrap_future(self._thread.submit(self._finish))

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _finish(self) -> str:
        if self._failed is not None:
            raise self._failed
        return self._recognizer.finish() if self._recognizer is not None else ""

    def _remember(self, done: "Future[None]") -> None:
        if not done.cancelled():
            self._failed = self._failed or done.exception()


class Ears:
    """Cuts what is heard into utterances; belongs to the event loop, like all that changes here."""

    def __init__(self, transcriber: Transcriber, changes: Changes) -> None:
        self.utterances: list[Utterance] = []
        self._transcriber = transcriber
        self._changes = changes
        self._lead_in: deque[bytes] = deque(maxlen=LEAD_IN_FRAMES)
        self._loud_frames = 0
        self._texts: list[asyncio.Task[None]] = []
        self._track: rtc.Track | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def running(self) -> Utterance | None:
        """What the agent is saying now."""
        last = self.utterances[-1] if self.utterances else None
        return last if last and not last.is_over else None

    @property
    def is_all_recognized(self) -> bool:
        """Whether every utterance that is over has its text."""
        return all(u.text is not None for u in self.utterances if u.is_over)

    def first_after(self, at: float) -> Utterance | None:
        return next((u for u in self.utterances if u.started_at >= at), None)

    def is_quiet_for(self, seconds: float) -> bool:
        now = asyncio.get_running_loop().time()
        return not self.utterances or now - self.utterances[-1].last_sound_at >= seconds

    def listen_to(self, track: rtc.Track) -> None:
        """Until the track ends. One voice is heard at a time: other tracks meanwhile are not."""
        if self._listening is None or self._listening.done():
            self._track = track
            self._listening = asyncio.create_task(self._listen(track), name="caller-ears")

    def leave(self, track: rtc.Track) -> None:
        """The track has gone: the next one is to be heard."""
        mine = self._track
        if self._listening is not None and mine is not None and track.sid == mine.sid:
            self._listening.cancel()
            self._listening = None

    async def aclose(self) -> None:
        """Stop listening, and wait until every utterance has its text."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})
        self._end_utterance()
        await asyncio.gather(*self._texts)
        self._transcriber.close()

    async def _listen(self, track: rtc.Track) -> None:
        stream = rtc.AudioStream.from_track(
            track=track, sample_rate=SAMPLE_RATE, num_channels=1, frame_size_ms=FRAME_MS
        )
        loop = asyncio.get_running_loop()
        try:
            async for event in stream:
                self.hear(bytes(event.frame.data), loop.time())
        finally:
            await stream.aclose()
            self._end_utterance()

    def hear(self, pcm: bytes, at: float) -> None:
        """One frame, whose last sample was heard at that time."""
        self._loud_frames = self._loud_frames + 1 if loudness(pcm) >= SOUND_RMS else 0
        running = self.running
        if running is None:
            self._lead_in.append(pcm)
            if self._loud_frames >= ONSET_FRAMES:
                self._begin_utterance(at)
        else:
            self._transcriber.feed(pcm)
            if self._loud_frames:
                running.last_sound_at = at
            elif at - running.last_sound_at >= UTTERANCE_ENDS_AFTER_SECONDS:
                self._end_utterance()
        self._changes.announce()

    def _begin_utterance(self, at: float) -> None:
        self.utterances.append(Utterance(at - ONSET_FRAMES * FRAME_SECONDS, at))
        self._transcriber.feed(b"".join(self._lead_in))
        self._lead_in.clear()

    def _end_utterance(self) -> None:
        if running := self.running:
            running.is_over = True
            name = f"caller-recognition-{len(self._texts)}"
            text = self._fill_in(running, self._transcriber.finish())
            self._texts.append(asyncio.create_task(text, name=name))

    async def _fill_in(self, utterance: Utterance, text: "asyncio.Future[str]") -> None:
        utterance.text = await text
        self._changes.announce()


def loudness(pcm: bytes) -> float:
    """The root mean square of 16-bit samples, 0 to 32767."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
    return float(np.sqrt((samples**2).mean())) if len(samples) else 0.0

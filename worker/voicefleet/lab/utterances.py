"""Cuts a stream of sound into utterances, by silence, and recognises each while it lasts."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from voicefleet.lab.recognition import HeardWord, Recognizer

FRAME_SECONDS = 0.02
# A frame this loud, of 32,768, may be speech; a fifth of espeak-ng's loudness still is.
SPEECH_RMS = 150.0
# So many such frames in a row begin an utterance; fewer are a click.
START_FRAMES = 3
# Heard from before the beginning, because the first consonant is quieter than the threshold.
LEAD_FRAMES = 15
# How often the result so far is looked at.
INTERIM_SECONDS = 0.24


class What(StrEnum):
    STARTED = "started"
    INTERIM = "interim"
    FINAL = "final"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was noticed. Seconds count from the stream's first sample; the words' too.

    STARTED: speech began. INTERIM: the text so far. FINAL: the utterance is over (`is_end` if
    silence ended it). QUIET: it has been silent since for as long as was asked.
    """

    what: What
    start_seconds: float
    end_seconds: float
    text: str = ""
    words: tuple[HeardWord, ...] = ()
    is_end: bool = False


class Utterances:
    """One stream of 16-bit mono samples. Not for two threads at once.

    `end_silence_seconds` of silence end an utterance, `quiet_seconds` of it (0: never) are told.
    """

    def __init__(
        self,
        phrases: Sequence[str],
        sample_rate: int,
        *,
        end_silence_seconds: float,
        quiet_seconds: float = 0.0,
    ) -> None:
        self._recognizer = Recognizer(phrases, sample_rate)
        self._frame_bytes = int(sample_rate * FRAME_SECONDS) * 2
        self._end_silence_seconds = end_silence_seconds
        self._quiet_seconds = quiet_seconds
        self._lead: deque[bytes] = deque(maxlen=LEAD_FRAMES)
        self._rest = b""
        self._loud_frames = 0
        self._seconds = 0.0
        self._silence_seconds = 0.0
        self._start_seconds = 0.0
        self._last_interim = ("", 0.0)
        self._is_quiet_told = True
        self.is_speech = False
        """An utterance has begun and is not over."""

    @property
    def seconds(self) -> float:
        """How much sound has come."""
        return self._seconds + len(self._rest) / self._frame_bytes * FRAME_SECONDS

    @property
    def is_loud_now(self) -> bool:
        """The latest frame was speech."""
        return self.is_speech and self._silence_seconds == 0

    def feed(self, pcm: bytes) -> list[Event]:
        self._rest += pcm
        events: list[Event] = []
        while len(self._rest) >= self._frame_bytes:
            frame, self._rest = self._rest[: self._frame_bytes], self._rest[self._frame_bytes :]
            events.extend(self._frame(frame))
        return events

    def finish(self) -> Event:
        """End the utterance now; without text if there is none."""
        return self._final(is_end=False)

    def _frame(self, frame: bytes) -> Iterator[Event]:
        self._seconds += FRAME_SECONDS
        is_loud = _rms(frame) >= SPEECH_RMS
        self._loud_frames = self._loud_frames + 1 if is_loud else 0
        self._silence_seconds = 0.0 if is_loud else self._silence_seconds + FRAME_SECONDS
        if self.is_speech:
            self._recognizer.feed(frame)
            yield from self._continue()
            return
        self._lead.append(frame)
        if self._loud_frames >= START_FRAMES:
            yield self._start()
        elif not self._is_quiet_told and 0 < self._quiet_seconds <= self._silence_seconds:
            self._is_quiet_told = True
            yield Event(What.QUIET, self._start_seconds, self._seconds - self._silence_seconds)

    def _start(self) -> Event:
        self.is_speech = True
        self._is_quiet_told = False
        self._start_seconds = self._seconds - len(self._lead) * FRAME_SECONDS
        self._last_interim = ("", self._seconds)
        self._recognizer.feed(b"".join(self._lead))
        self._lead.clear()
        return Event(What.STARTED, self._start_seconds, self._seconds)

    def _continue(self) -> Iterator[Event]:
        if self._silence_seconds >= self._end_silence_seconds:
            yield self._final(is_end=True)
            return
        text, at = self._last_interim
        if self._seconds - at >= INTERIM_SECONDS:
            now = self._recognizer.partial()
            self._last_interim = (now, self._seconds)
            if now not in ("", text):
                yield self._event(What.INTERIM, now, is_end=False)

    def _final(self, *, is_end: bool) -> Event:
        event = self._event(What.FINAL, self._recognizer.finish(), is_end=is_end)
        self.is_speech = False
        self._loud_frames = 0
        return event

    def _event(self, what: What, text: str, *, is_end: bool) -> Event:
        words = tuple(
            HeardWord(
                w.text, self._start_seconds + w.start_seconds, self._start_seconds + w.end_seconds
            )
            for w in self._recognizer.heard
        )
        return Event(what, self._start_seconds, self._seconds, text, words, is_end)


def _rms(frame: bytes) -> float:
    samples = np.frombuffer(frame, dtype="<i2").astype(np.float32)
    return float(np.sqrt((samples * samples).mean()))

"""A voice without a key: espeak-ng, called through its C library.

The wheel `espeakng_loader` carries the library and its data. The calls are those of
https://github.com/espeak-ng/espeak-ng/blob/master/src/include/espeak-ng/speak_lib.h
"""

import ctypes
import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import espeakng_loader

from voicefleet import errors
from voicefleet.lab import audio

SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: no sound card, the callback gets the samples
CHARS_UTF8 = 1
POSITION_CHARACTER = 1
PARAMETER_RATE = 1
EVENT_LIST_END = 0
EVENT_WORD = 1

# espeak-ng's own default is 175; people on the telephone speak slower. The recogniser was measured
# from 140 to 180 and hears all of it alike.
WORDS_PER_MINUTE = 160


@dataclass(frozen=True, slots=True)
class Word:
    """One word as it stands in the text, with its punctuation, and when it is heard."""

    text: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class Speech:
    """What was said. `pcm` is 16-bit little-endian, one channel."""

    pcm: bytes
    sample_rate: int
    words: tuple[Word, ...]

    @property
    def duration_seconds(self) -> float:
        return len(self.pcm) / 2 / self.sample_rate


class _EventId(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)

# The library keeps everything in globals: one text at a time in a process.
_lock = threading.Lock()


def synthesize(
    text: str,
    *,
    sample_rate: int = 24_000,
    voice: str = "en-us",
    words_per_minute: int = WORDS_PER_MINUTE,
) -> Speech:
    """Speak a text. May be called from any thread; takes less than 1 % of the speech's length.

    :raises UsageError: if espeak-ng has no such voice.
    """
    pcm, native_rate, events = _speak(text, voice, words_per_minute)
    duration_seconds = len(pcm) / 2 / native_rate
    words = tuple(_words(text, events, duration_seconds))
    return Speech(audio.resample(pcm, native_rate, sample_rate), sample_rate, words)


@functools.lru_cache(maxsize=64)
def _speak(text: str, voice: str, words_per_minute: int) -> tuple[bytes, int, tuple[Any, ...]]:
    """The samples, their rate, and one (place in the text, length, seconds) for each word."""
    library, native_rate = _library()
    chunks: list[bytes] = []
    events: list[tuple[int, int, float]] = []

    def receive(samples: Any, count: int, event: Any) -> int:
        if samples and count:
            chunks.append(ctypes.string_at(samples, count * 2))
        words = (one for one in _until_end(event) if one.type == EVENT_WORD)
        events.extend((w.text_position - 1, w.length, w.audio_position / 1000) for w in words)
        return 0

    encoded = text.encode("utf-8", errors="replace").replace(b"\0", b" ")
    with _lock:
        if library.espeak_SetVoiceByName(voice.encode("utf-8", errors="replace")) != 0:
            raise errors.UsageError(
                f"espeak-ng has no voice {voice!r}", fix="use a voice such as en-us or en-gb"
            )
        library.espeak_SetParameter(PARAMETER_RATE, words_per_minute, 0)
        callback = _Callback(receive)
        library.espeak_SetSynthCallback(callback)
        library.espeak_Synth(
            encoded, len(encoded) + 1, 0, POSITION_CHARACTER, 0, CHARS_UTF8, None, None
        )
        library.espeak_Synchronize()
    return b"".join(chunks), native_rate, tuple(events)


@functools.cache
def _library() -> tuple[ctypes.CDLL, int]:
    """The loaded library and the rate of its samples (22,050 Hz for every voice it ships with)."""
    with _lock:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        data_folder = str(Path(espeakng_loader.get_data_path()).parent)
        native_rate = library.espeak_Initialize(SYNCHRONOUS, 0, data_folder.encode(), 0)
    if native_rate <= 0:
        raise errors.ToolError(
            f"espeak-ng did not start (code {native_rate})",
            fix="reinstall it: pip install --force-reinstall espeakng-loader",
        )
    return library, native_rate


def _until_end(event: Any) -> Iterator[Any]:
    index = 0
    while event and event[index].type != EVENT_LIST_END:
        yield event[index]
        index += 1


def _words(
    text: str, events: tuple[tuple[int, int, float], ...], duration_seconds: float
) -> Iterator[Word]:
    """espeak-ng marks where words begin; each lasts until the next, the last until the end."""
    starts = [seconds for _, _, seconds in events]
    ends = [*starts[1:], duration_seconds]
    for (position, length, start), end in zip(events, ends, strict=False):
        yield Word(_with_punctuation(text, position, length), start, min(end, duration_seconds))


def _with_punctuation(text: str, position: int, length: int) -> str:
    end = position + length
    while end < len(text) and not text[end].isspace():
        end += 1
    return text[position:end].strip()

"""Ears without a key: pocketsphinx, which listens for the sentences of a script and nothing else.

Scores and frames are those of https://pocketsphinx.readthedocs.io/
"""

import functools
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pocketsphinx
from numpy.typing import NDArray

from voicefleet import errors
from voicefleet.lab import audio, conversation
from voicefleet.lab.understanding import MIN_CUT_WORDS, Segment, understood

VARIANT = re.compile(r"\(\d+\)$")


def of_token(token: str) -> tuple[str, ...]:
    """Every pronunciation of one token of a text ("read," or "twenty-one"), as ARPAbet phones.

    :raises UsageError: if a word is not in the dictionary.
    """
    spoken = conversation.words(token)
    known = _dictionary(frozenset(spoken))
    missing = [word for word in spoken if word not in known]
    if missing or not spoken or any(character.isdigit() for character in token):
        raise errors.UsageError(
            f"nobody knows how {missing[0] if missing else token!r} is pronounced",
            fix="write it in English words that are in CMU's dictionary; numbers as words too",
        )
    return tuple(" ".join(parts) for parts in itertools.product(*(known[w] for w in spoken)))


def require_pronounceable(path: str) -> None:
    """:raises UsageError: if a word of the conversation at this path is not in the dictionary."""
    script = conversation.load(path)
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for phrase in (*script.caller_phrases, *script.agent_phrases):
        for token in phrase.split():
            try:
                of_token(token)
            except errors.UsageError as error:
                # A day that the file has as {monday} stands in no line.
                where = next((f", line {n}" for n, ln in enumerate(lines, 1) if token in ln), "")
                raise errors.UsageError(f"{path}{where}: {error.problem}", fix=error.fix) from None


@functools.lru_cache(maxsize=1024)
def _dictionary(wanted: frozenset[str]) -> dict[str, tuple[str, ...]]:
    return {word: _all()[word] for word in wanted if word in _all()}


@functools.cache
def _all() -> dict[str, tuple[str, ...]]:
    path = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))
    lines = path.read_text(encoding="utf-8").splitlines()
    return _grouped(line.split(maxsplit=1) for line in lines if line.strip())


def _grouped(entries: Iterable[list[str]]) -> dict[str, tuple[str, ...]]:
    """The dictionary numbers the second and later ways to say a word: read, read(2)."""
    found: dict[str, tuple[str, ...]] = {}
    for word, phones in entries:
        key = VARIANT.sub("", word)
        found[key] = (*found.get(key, ()), phones)
    return found


SAMPLE_RATE = 16_000

# A sentence may break off only where nothing better explains the sound.
CUT_PROBABILITY = 0.01

# Where the channel's mean begins (it then follows the sound), measured on espeak-ng: with the
# model's own values the first sentence of a call was often missed.
CHANNEL_MEAN = "54,1.2,-5.2,17.5,-14.1,-4.5,3.0,-12.0,-5.0,-9.8,4.3,-4.6,-4.9"

Transition = tuple[int, int, float] | tuple[int, int, float, str]


def decoder(sentences: Sequence[Sequence[str]]) -> pocketsphinx.Decoder:
    """Its words are places in the script ("3.2": sentence 3, word 2), so a result needs no search.

    :raises UsageError: if a word cannot be pronounced.
    """
    made = pocketsphinx.Decoder(
        hmm=pocketsphinx.get_model_path("en-us/en-us"),
        dict=None,
        lm=None,
        samprate=SAMPLE_RATE,
        cmn="live",
        cmninit=CHANNEL_MEAN,
        bestpath=False,
        loglevel="FATAL",
    )
    for sentence, words in enumerate(sentences):
        for word, token in enumerate(words):
            for variant, phones in enumerate(of_token(token), start=1):
                suffix = f"({variant})" if variant > 1 else ""
                made.add_word(f"{sentence}.{word}{suffix}", phones, False)
    made.add_fsg("script", made.create_fsg("script", 0, 1, list(_transitions(sentences))))
    made.activate_search("script")
    return made


def _transitions(sentences: Sequence[Sequence[str]]) -> Iterator[Transition]:
    """From state, to state, probability, word. Every sentence begins and ends in state 0; the
    utterance ends in state 1.
    """
    yield 0, 1, 1.0
    state = 1
    for sentence, words in enumerate(sentences):
        here, likely = 0, 1 / len(sentences)
        for word in range(len(words) - 1):
            state += 1
            yield here, state, likely, f"{sentence}.{word}"
            # What would not be believed must not take the end of a whole sentence for itself.
            if word + 1 >= MIN_CUT_WORDS:
                yield state, 1, CUT_PROBABILITY
            here, likely = state, 1.0
        yield here, 0, likely, f"{sentence}.{len(words) - 1}"


FRAME_SAMPLES = 160
FRAMES_PER_SECOND = SAMPLE_RATE // FRAME_SAMPLES

# A frame is loud above this, of 32,768, and above this share of the utterance's loudest frame.
LOUD_RMS = 100.0
LOUD_RATIO = 0.05

# Digital silence has no logarithm, and the voice's silences are digital: without this, 11 of 14
# sentences were heard whole, with it 14.
DITHER_RMS = 20.0

PLACE = re.compile(r"(\d+)\.(\d+)")
# pocketsphinx gives a score as e to the power of (score / 10,000).
SCORE_UNIT = 10_000.0


@dataclass(frozen=True, slots=True)
class HeardWord:
    """One word as the script writes it, in seconds since the utterance's first sample."""

    text: str
    start_seconds: float
    end_seconds: float


class Recognizer:
    """One listener to one speaker. Not for two threads at once; about 2 % of a core for each second
    of sound.

    :raises UsageError: if a word of the phrases cannot be pronounced.
    """

    def __init__(self, phrases: Sequence[str], sample_rate: int = SAMPLE_RATE) -> None:
        self._sentences = [phrase.split() for phrase in dict.fromkeys(phrases) if phrase.strip()]
        self._wholes = [_whole_after(words, self._sentences) for words in self._sentences]
        self._resampler = audio.Resampler(sample_rate, SAMPLE_RATE)
        self._decoder = decoder(self._sentences)
        self._channel = self._decoder.get_cmn(False)
        # A second of it, twice: from any place in the first, the longest piece has its own.
        self._noise = np.tile(np.random.default_rng(1).normal(0, DITHER_RMS, SAMPLE_RATE), 2)
        self._loudness: list[NDArray[np.float64]] = []
        self._noise_at = 0
        self._rest = b""
        self._is_listening = False
        self.heard: tuple[HeardWord, ...] = ()
        """The words of the last result, whether partial or final."""

    def feed(self, pcm: bytes) -> None:
        """Listen to 16-bit mono samples, of any number."""
        pcm = self._rest + self._resampler.push(pcm)
        step = FRAME_SAMPLES * 2
        whole = len(pcm) // step * step
        self._rest = pcm[whole:]
        for start in range(0, whole, SAMPLE_RATE * 2):
            self._decode(pcm[start : min(start + SAMPLE_RATE * 2, whole)])

    def partial(self) -> str:
        """What has been heard of this utterance so far."""
        return self._result() if self._is_listening else ""

    def finish(self) -> str:
        """What was heard, with the script's own punctuation; empty for anything that is not of the
        script. The next sample begins another utterance.
        """
        if not self._is_listening:
            self.heard = ()
            return ""
        self._decoder.end_utt()
        self._is_listening = False
        text = self._result()
        self._loudness, self._rest = [], b""
        return text

    def _decode(self, pcm: bytes) -> None:
        """At most a second, in whole frames."""
        if not self._is_listening:
            # It would begin with what it has learned of the channel so far, and a short sentence be
            # heard or not by what came before it.
            self._decoder.set_cmn(self._channel)
            self._decoder.start_utt()
            self._is_listening = True
            self._noise_at = 0
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
        frames = samples.reshape(-1, FRAME_SAMPLES)
        self._loudness.append(np.sqrt((frames * frames).mean(axis=1)))
        # From where it stopped: pieces that all began alike would hum.
        noise = self._noise[self._noise_at : self._noise_at + len(samples)]
        self._noise_at = (self._noise_at + len(samples)) % SAMPLE_RATE
        dithered = (samples + noise).clip(-32_768, 32_767)
        self._decoder.process_raw(dithered.astype("<i2").tobytes())

    def _result(self) -> str:
        segments = () if self._decoder.hyp() is None else tuple(_segments(self._decoder.seg()))
        loudness = np.concatenate(self._loudness) if self._loudness else np.zeros(1)
        is_loud = loudness > max(LOUD_RMS, LOUD_RATIO * float(loudness.max()))
        found = understood(segments, is_loud, self._wholes)
        self.heard = tuple(self._word(segment) for segment in found)
        return " ".join(word.text for word in self.heard)

    def _word(self, segment: Segment) -> HeardWord:
        return HeardWord(
            self._sentences[segment.sentence or 0][segment.word],
            segment.start_frame / FRAMES_PER_SECOND,
            segment.end_frame / FRAMES_PER_SECOND,
        )


def _whole_after(words: Sequence[str], sentences: Iterable[Sequence[str]]) -> frozenset[int]:
    """A sentence that begins with another is found in its place half the time."""
    return frozenset(len(other) for other in sentences if words[: len(other)] == other)


def _segments(found: Iterable[pocketsphinx.Segment]) -> Iterator[Segment]:
    for one in found:
        if one.word == "(NULL)":  # a step of the grammar without a word
            continue
        frames = one.end_frame + 1 - one.start_frame
        score = SCORE_UNIT * math.log(max(one.ascore, 1e-300)) / frames
        place = PLACE.match(one.word)
        sentence, word = (int(place[1]), int(place[2])) if place else (None, 0)
        yield Segment(sentence, word, one.start_frame, one.end_frame + 1, score)

"""The voice: does it say the text, at the rate that was asked, and when does it say each word?"""

import asyncio

import numpy as np
import pytest

from voicefleet import errors
from voicefleet.lab import speech


def test_speech_has_the_rate_and_about_the_length_that_was_asked() -> None:
    low = speech.synthesize("Tell me about the reading group.", sample_rate=8_000)
    high = speech.synthesize("Tell me about the reading group.", sample_rate=48_000)
    assert (low.sample_rate, high.sample_rate) == (8_000, 48_000)
    assert low.duration_seconds == pytest.approx(high.duration_seconds, abs=0.02)
    assert 1.0 < low.duration_seconds < 3.0


def test_words_follow_each_other_and_fill_the_speech() -> None:
    said = speech.synthesize("Thank you very much. Goodbye.")
    assert [word.text for word in said.words] == ["Thank", "you", "very", "much.", "Goodbye."]
    assert all(word.start_seconds < word.end_seconds for word in said.words)
    assert said.words[-1].end_seconds == pytest.approx(said.duration_seconds, abs=0.01)


def test_a_word_is_loud_between_its_times() -> None:
    said = speech.synthesize("Hello, goodbye.", sample_rate=16_000)
    samples = np.frombuffer(said.pcm, dtype="<i2").astype(float)
    for word in said.words:
        part = samples[int(word.start_seconds * 16_000) : int(word.end_seconds * 16_000)]
        assert np.abs(part).max() > 3_000


def test_a_faster_voice_takes_less_time() -> None:
    slow = speech.synthesize("Newcomers are always welcome.", words_per_minute=120)
    fast = speech.synthesize("Newcomers are always welcome.", words_per_minute=240)
    assert fast.duration_seconds < 0.7 * slow.duration_seconds


@pytest.mark.parametrize("text", ["", " ", "...", "\0", "\ud800", "你好", "<b>&amp;", "a" * 500])
def test_any_text_can_be_spoken(text: str) -> None:
    assert speech.synthesize(text).duration_seconds < 120


def test_an_unknown_voice_is_an_error_that_names_it() -> None:
    with pytest.raises(errors.UsageError, match="atlantean"):
        speech.synthesize("Hello.", voice="atlantean")


async def test_threads_that_speak_at_once_do_not_disturb_each_other() -> None:
    """The voice itself varies by a hundredth from one time to the next."""
    texts = [f"This is the sentence that has number {n}." for n in ("one", "two", "three", "four")]
    alone = [speech.synthesize(text) for text in texts]
    speech._speak.cache_clear()
    together = await asyncio.gather(*(asyncio.to_thread(speech.synthesize, t) for t in texts))
    for one, other in zip(together, alone, strict=True):
        assert [word.text for word in one.words] == [word.text for word in other.words]
        assert one.duration_seconds == pytest.approx(other.duration_seconds, rel=0.03)

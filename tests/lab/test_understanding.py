"""What is believed of what a grammar found."""

import numpy as np

from voicefleet.lab.understanding import Segment, understood

WORD_FRAMES = 20


def said(words: int, *, score: float = -30.0) -> list[Segment]:
    """The first words of the only sentence, one after the other."""
    starts = range(0, words * WORD_FRAMES, WORD_FRAMES)
    return [Segment(0, n, start, start + WORD_FRAMES, score) for n, start in enumerate(starts)]


def believed(found: list[Segment], whole_after: set[int]) -> int:
    return len(understood(found, np.ones(found[-1].end_frame, dtype=bool), [whole_after]))


def test_a_sentence_that_broke_off_is_believed_after_four_words() -> None:
    assert [believed(said(words), {10}) for words in (3, 4, 10)] == [0, 4, 10]


def test_a_short_sentence_is_believed_though_a_longer_one_begins_with_it() -> None:
    """The grammar finds either of the two."""
    assert believed(said(3), {3, 10}) == 3


def test_a_sentence_that_broke_off_must_sound_better_than_a_whole_one() -> None:
    found = said(8, score=-38.0)
    assert (believed(found, {10}), believed(found, {8, 10})) == (0, 8)

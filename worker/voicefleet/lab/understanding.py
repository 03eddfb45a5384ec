"""Which of the words that a grammar found are to be believed.

A grammar always finds something, in any speech and in noise; this is where it is doubted.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# All measured on espeak-ng at 140 to 180 words a minute, a fifth to full loudness, with and without
# noise. Speech of the script: coverage 0.90 and more, mean score -39 and more, worst word -62 and
# more but for 7 of 285 turns. Other speech, where the grammar found something in it: mean -33 and
# less, worst word -50 and less, and only 3 of 43 near those values.
MIN_COVERAGE_RATIO = 0.85
MIN_WORD_SCORE = -62.0
MIN_WHOLE_MEAN_SCORE = -39.0
# Other speech resembles the beginning of a sentence more easily than a whole one.
MIN_CUT_MEAN_SCORE = -37.0
# espeak-ng says some words unlike any person ("learned"): one is forgiven in a whole sentence of so
# many words, which no other speech has resembled from end to end.
MIN_FORGIVING_WORDS = 5

# Words of one sentence stand closer than this many loud frames that are no word of it.
MAX_GAP_FRAMES = 30
# One to three words that open a sentence are found in nearly any speech.
MIN_CUT_WORDS = 4


@dataclass(frozen=True, slots=True)
class Segment:
    """Word `word` of sentence `sentence`, in frames of 10 ms; a pause is of no sentence. The score
    is 0 where the sound is exactly what the acoustic model expects, and negative otherwise.
    """

    sentence: int | None
    word: int
    start_frame: int
    end_frame: int
    score: float


def understood(
    segments: Sequence[Segment], is_loud: NDArray[np.bool_], wholes: Sequence[Set[int]]
) -> list[Segment]:
    """The words to believe. A sentence counts if each of its words sounds like itself and it is
    whole, or broke off after at least four words; all of them count only if together they explain
    nearly everything that was loud. `wholes` has, for each sentence, the numbers of words after
    which it is whole: all of them, and as many as make another sentence of the script.
    """
    kept = [
        run
        for run in _runs(segments, is_loud)
        if _is_credible(run, is_whole=len(run) in wholes[run[0].sentence or 0])
    ]
    words = [segment for run in kept for segment in run]
    explained = sum(int(is_loud[s.start_frame : s.end_frame].sum()) for s in words)
    return words if explained >= MIN_COVERAGE_RATIO * max(1, int(is_loud.sum())) else []


def _runs(segments: Iterable[Segment], is_loud: NDArray[np.bool_]) -> Iterator[list[Segment]]:
    """Words of one sentence that follow each other, with no other speech between them."""
    run: list[Segment] = []
    gap_frames = 0
    for segment in segments:
        if segment.sentence is None:
            gap_frames += int(is_loud[segment.start_frame : segment.end_frame].sum())
            continue
        follows = run and (run[-1].sentence, run[-1].word + 1) == (segment.sentence, segment.word)
        if run and not (follows and gap_frames <= MAX_GAP_FRAMES):
            yield run
            run = []
        run.append(segment)
        gap_frames = 0
    if run:
        yield run


def _is_credible(run: Sequence[Segment], *, is_whole: bool) -> bool:
    is_long_enough = is_whole or len(run) >= MIN_CUT_WORDS
    return run[0].word == 0 and is_long_enough and _sounds_like_itself(run, is_whole=is_whole)


def _sounds_like_itself(run: Sequence[Segment], *, is_whole: bool) -> bool:
    lengths = [segment.end_frame - segment.start_frame for segment in run]
    mean = sum(s.score * frames for s, frames in zip(run, lengths, strict=True)) / sum(lengths)
    bad = sum(segment.score < MIN_WORD_SCORE for segment in run)
    forgiven = 1 if is_whole and len(run) >= MIN_FORGIVING_WORDS else 0
    least = MIN_WHOLE_MEAN_SCORE if is_whole else MIN_CUT_MEAN_SCORE
    return mean >= least and bad <= forgiven

"""How long to wait before the next attempt at something that fails: twice as long after each
failure, up to a longest pause.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

# 2**64 pauses of any use are longer than any longest pause; 2.0**1024 would raise.
MOST_DOUBLINGS = 64


def pause_seconds(failures: int, first_seconds: float, longest_seconds: float) -> float:
    """The pause after so many failures in a row: none after none."""
    if failures <= 0:
        return 0.0
    return min(first_seconds * 2.0 ** min(failures - 1, MOST_DOUBLINGS), longest_seconds)


@dataclass(slots=True)
class Backoff:
    """The pauses of one series of attempts. It only counts; the caller waits, on a thread or on an
    event loop. Not locked: one thread uses it.

    `jitter_ratio` is the part of each pause, 0 to 1, that is drawn at random: with 0.5 a pause of
    10 s becomes 5 to 10 s, so that pods which failed together do not return together. `draw` gives
    a number from 0 to 1.
    """

    first_seconds: float
    longest_seconds: float
    jitter_ratio: float = field(default=0.0, kw_only=True)
    draw: Callable[[], float] = field(default=random.random, kw_only=True)
    failures: int = field(default=0, init=False)

    def next_seconds(self) -> float:
        """Count one more failure, and return the pause that is due after it."""
        self.failures += 1
        pause = pause_seconds(self.failures, self.first_seconds, self.longest_seconds)
        return pause * (1.0 - self.jitter_ratio * (1.0 - self.draw()))

    def reset(self) -> None:
        """After a success: the next pause is a first one again."""
        self.failures = 0

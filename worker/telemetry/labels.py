"""Label values that come from outside, kept few: whatever callers and agent files do, a metric has
no more series than this allows.
"""

import re

OTHER = "other"
LONGEST_VALUE = 64
UNUSUAL = re.compile(r"[^\w./:@+-]")


class Bounded:
    """Lets the first `most` distinct sets of values through, and calls every further one "other".

    Belongs to one thread.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[tuple[str, ...]] = set()

    def __call__(self, *values: str) -> tuple[str, ...]:
        tidy = tuple(_tidy(value) for value in values)
        if tidy in self._known:
            return tidy
        if len(self._known) >= self._most:
            return (OTHER,) * len(values)
        self._known.add(tidy)
        return tidy


def _tidy(value: str) -> str:
    """A name as a label: short, and without what is no part of a name."""
    return UNUSUAL.sub("_", value)[:LONGEST_VALUE] or "unknown"

"""How long nobody spoke on a line, from who was heard when."""

import itertools
from collections.abc import Sequence

Span = tuple[float, float]
"""From when to when somebody spoke, in seconds of one clock."""


def silences(answers: Sequence[Span], questions: Sequence[Span], until: float) -> list[float]:
    """How long the caller waited for each sound of the agent, from the first on, and at last until
    the end if the last question was not answered.

    A wait begins when the agent stops, or when the caller has asked; who asks again meanwhile
    waits on. The agent's own pauses count, and the caller's before a question do not.
    """
    found = []
    for (_, stopped), (began, _) in itertools.pairwise(answers):
        found.append(max(0.0, began - _waits_from(stopped, began, questions)))
    if answers and any(ended > answers[-1][1] for _, ended in questions):
        stopped = answers[-1][1]
        found.append(max(0.0, until - _waits_from(stopped, until, questions)))
    return found


def _waits_from(stopped: float, until: float, questions: Sequence[Span]) -> float:
    """Whoever is interrupted by the answer did not wait for it."""
    asked = (min(ended, until) for began, ended in questions if ended > stopped and began < until)
    return next(asked, stopped)

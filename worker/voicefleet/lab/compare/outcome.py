"""What a drill is, and what it tells of one subject."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicefleet.lab.compare.stage import World


class Subject(StrEnum):
    """Whose worker is on the stage."""

    STOCK = "stock"
    OURS = "voicefleet"


@dataclass(frozen=True, slots=True)
class Figure:
    """Something measured, once or several times. Less is better, of every figure here."""

    name: str
    values: tuple[float, ...]
    unit: str

    @property
    def median(self) -> float:
        return median(self.values)

    def __str__(self) -> str:
        middle = f"{self.name} {in_digits(self.median)} {self.unit}".strip()
        if len(self.values) == 1:
            return middle
        least, most = in_digits(min(self.values)), in_digits(max(self.values))
        return f"{middle} ({least} to {most}, n={len(self.values)})"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one drill showed of one subject: `lost` of `calls` where calls were at stake, and why,
    figures, and what was seen in words. A drill that could not be held has only `failed`.
    """

    lost: int | None = None
    calls: int | None = None
    figures: tuple[Figure, ...] = ()
    seen: str = ""
    why: str = ""
    failed: str = ""

    def __str__(self) -> str:
        if self.failed:
            return f"failed: {self.failed}"
        lost = "" if self.calls is None else f"**{self.lost} of {self.calls} lost**"
        if self.why:
            lost += f" ({self.why})"
        parts = [lost, *map(str, self.figures), self.seen]
        return "; ".join(part for part in parts if part)


def together(rounds: Sequence[Outcome]) -> Outcome:
    """What the rounds of one drill come to; one that could not be held is what there is to say."""
    for one in rounds:
        if one.failed:
            return one
    names = dict.fromkeys(figure.name for one in rounds for figure in one.figures)
    return Outcome(
        lost=sum(one.lost or 0 for one in rounds),
        calls=sum(one.calls or 0 for one in rounds),
        why=", ".join(sorted({one.why for one in rounds if one.why})),
        figures=tuple(_figure(name, rounds) for name in names),
    )


def _figure(name: str, rounds: Sequence[Outcome]) -> Figure:
    found = [figure for one in rounds for figure in one.figures if figure.name == name]
    return Figure(name, tuple(v for figure in found for v in figure.values), found[0].unit)


class Setting(StrEnum):
    """Where a drill is held: on a stage that harmless drills share, in turn with the other subject
    on a stage beside it, or on one of its own. At the end come those that only wait, all at the
    same time, and beside them the calm ones, whose outcome a waiting neighbour does not change.
    """

    SHARED = "shared"
    IN_TURN = "in turn"
    OWN = "own"
    CALM = "calm"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Drill:
    """One row of the table. `name` is for `--only`; `title` is read by people. One that is not
    ranked shows a choice, of which neither is simply the better one. `rounds` is how often it is
    held with each subject in turn.
    """

    name: str
    title: str
    run: "Hold"
    setting: Setting = Setting.OWN
    is_ranked: bool = True
    rounds: int = 1


Hold = Callable[["World", Subject], Awaitable[Outcome]]
"""What holds a drill with one subject."""


class NotHeld(Exception):
    """The drill could not be held: what it would have measured did not come about."""


def in_digits(value: float) -> str:
    """Three digits that mean something, and no exponent.

    >>> [in_digits(v) for v in (0.4321, 12.34, 1234.5, 0.0)]
    ['0.432', '12.3', '1234', '0']
    """
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"

"""Draws what was counted over time as an SVG: steps, and a cross for each refusal."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 860, 340
LEFT, RIGHT, TOP, BOTTOM = 40, 20, 50, 40
TICK_SECONDS = 30
# So that steps of the same height lie beside each other.
APART_PIXELS = 2.0


@dataclass(frozen=True, slots=True)
class Line:
    """A count over time: from each instant on, so many."""

    name: str
    colour: str
    points: Sequence[tuple[float, int]]


@dataclass(frozen=True, slots=True)
class Scales:
    began: float
    until: float
    most: int

    def x(self, at: float) -> float:
        share = (at - self.began) / (self.until - self.began)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, count: float) -> float:
        return round(HEIGHT - BOTTOM - count / self.most * (HEIGHT - TOP - BOTTOM), 1)


def draw(lines: Sequence[Line], refusals: Sequence[float], began: float, until: float) -> str:
    """The whole picture; times are seconds of one clock."""
    most = max(count for line in lines for _, count in line.points) + 1
    scales = Scales(began, until, most)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *_grid(scales),
        *(_steps(line, scales, number) for number, line in enumerate(lines)),
        *(_cross(scales.x(at), scales.y(0.5)) for at in refusals),
        *_legend(lines, len(refusals)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _grid(scales: Scales) -> list[str]:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    found = []
    for count in range(scales.most + 1):
        y = scales.y(count)
        found.append(f'<path d="M{LEFT} {y}H{right}" stroke="#e9ecef"/>')
        found.append(_text(LEFT - 8, y + 4, str(count), "end"))
    ticks = range(0, int(scales.until - scales.began) + 1, TICK_SECONDS)
    return found + [
        _text(scales.x(scales.began + tick), floor + 18, f"{tick} s", "middle") for tick in ticks
    ]


def _steps(line: Line, scales: Scales, number: int) -> str:
    shift = -number * APART_PIXELS
    changes = [next(group) for _, group in itertools.groupby(line.points, key=lambda p: p[1])]
    first, *rest = changes
    path = f"M{scales.x(first[0])} {scales.y(first[1]) + shift:.1f}" + "".join(
        f"H{scales.x(at)}V{scales.y(count) + shift:.1f}" for at, count in rest
    )
    path += f"H{scales.x(scales.until)}"
    return f'<path d="{path}" fill="none" stroke="{line.colour}" stroke-width="2"/>'


def _legend(lines: Sequence[Line], refusals: int) -> list[str]:
    found, x = [], float(LEFT)
    for line in lines:
        found.append(f'<path d="M{x} 20h20" stroke="{line.colour}" stroke-width="3"/>')
        found.append(_text(x + 26, 24, line.name, "start"))
        x += 50 + 7 * len(line.name)
    found.append(_cross(x + 8, 20))
    found.append(_text(x + 22, 24, f"callers refused: {refusals}", "start"))
    return found


def _cross(x: float, y: float) -> str:
    return f'<path d="M{x - 5} {y - 5}l10 10m0 -10l-10 10" stroke="#e03131" stroke-width="2"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#495057">{escape(text)}</text>'

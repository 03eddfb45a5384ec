"""Draws a dashboard: every panel at its place in Grafana's grid, from answers of Prometheus."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from textwrap import wrap

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from ops.dashboards import plots
from ops.dashboards.asking import Panel, Span, Target
from voicefleet.lab.prometheus import Series

Answers = Sequence[tuple[Target, Sequence[Series]]]

COLUMNS = 24
INCHES_A_COLUMN = 0.58
INCHES_A_ROW = 0.36
MARGIN_INCHES = 0.25
HEAD_INCHES = 0.75
# Between the edge of a panel and what is plotted: left, right, above, below.
INSETS = (0.62, 0.3, 0.66, 0.66)

GROUND, CARD, EDGE, INK, FAINT = "#f4f5f5", "#ffffff", "#d8dee4", "#24292e", "#6e7781"


def save(
    path: Path, title: str, caption: str, span: Span, drawn: Sequence[tuple[Panel, Answers]]
) -> None:
    """Write the picture as PNG; the caption stands under the title."""
    mpl.rcParams.update({"font.family": "DejaVu Sans", "font.size": 8, "text.color": INK})
    rows = max(panel.place[1] + panel.place[3] for panel, _ in drawn)
    width = COLUMNS * INCHES_A_COLUMN + 2 * MARGIN_INCHES
    height = rows * INCHES_A_ROW + HEAD_INCHES + 2 * MARGIN_INCHES
    figure = Figure(figsize=(width, height), facecolor=GROUND)
    left, top = MARGIN_INCHES / width, 1 - MARGIN_INCHES / height
    figure.text(left, top, title, fontsize=15, weight="bold", va="top")
    figure.text(left, top - 0.34 / height, caption, fontsize=8.5, color=FAINT, va="top")
    for panel, answers in drawn:
        _panel(figure, panel, answers, span)
    figure.savefig(path, dpi=110, facecolor=GROUND)
    _shrink(path)


def clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def _panel(figure: Figure, panel: Panel, answers: Answers, span: Span) -> None:
    x, y, columns, rows = panel.place
    width, height = figure.get_size_inches()
    left = MARGIN_INCHES + x * INCHES_A_COLUMN
    top = height - MARGIN_INCHES - HEAD_INCHES - y * INCHES_A_ROW
    across, down = columns * INCHES_A_COLUMN, rows * INCHES_A_ROW
    if panel.kind == "row":
        figure.text(
            left / width, (top - down / 2) / height, panel.title, fontsize=11, weight="bold"
        )
        return
    gap = 0.05
    corner = ((left + gap) / width, (top - down + gap) / height)
    size = ((across - 2 * gap) / width, (down - 2 * gap) / height)
    card = Rectangle(corner, *size, facecolor=CARD, edgecolor=EDGE, lw=0.8, zorder=-1)
    figure.add_artist(card)
    figure.text(
        (left + 0.14) / width,
        (top - 0.12) / height,
        panel.title,
        fontsize=9,
        weight="bold",
        va="top",
    )
    inset_left, inset_right, above, below = INSETS
    if panel.kind in {"stat", "table"}:
        inset_left, below = inset_right, inset_right
    if panel.kind != "stat":
        sentence = "\n".join(wrap(panel.description, int(across * 17.5))[:2])
        figure.text(
            *((left + 0.14) / width, (top - 0.31) / height),
            sentence,
            fontsize=6.8,
            color=FAINT,
            va="top",
        )
    inside = figure.add_axes(
        (
            (left + inset_left) / width,
            (top - down + below) / height,
            (across - inset_left - inset_right) / width,
            (down - above - below) / height,
        ),
        facecolor="none",
    )
    _plot(inside, panel, answers, span)


def _plot(axes: Axes, panel: Panel, answers: Answers, span: Span) -> None:
    match panel.kind:
        case "stat":
            plots.number(axes, panel, answers)
        case "table":
            plots.table(axes, panel, answers)
        case "heatmap":
            plots.heatmap(axes, panel, answers, span)
        case "timeseries":
            plots.lines(axes, panel, answers, span)
        case other:
            raise ValueError(f"no way to draw a panel of the kind {other}")


def _shrink(path: Path) -> None:
    """Few colours are used, and a palette halves the file."""
    with Image.open(path) as image:
        image.convert("RGB").quantize(128).save(path, optimize=True)

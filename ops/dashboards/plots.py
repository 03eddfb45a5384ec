"""What is inside a drawn panel: a number, lines, a heat map or a table."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from ops.dashboards.asking import Panel, Span, Target, legend
from ops.dashboards.panel import BYTES, COUNT, RATIO, SECONDS
from ops.dashboards.words import in_words
from voicefleet.lab.prometheus import Series

Answers = Sequence[tuple[Target, Sequence[Series]]]

NO_DATA = "No data"
MOST_LINES = 8
COLOURS = (
    *("#3871dc", "#e0832a", "#3d9e5b", "#c4384b", "#8f5bc2"),
    *("#2a9da0", "#b08b2e", "#6b7280"),
)
STEPS = {"green": "#2f8f4e", "orange": "#cc6d14", "red": "#c4162a", "text": "#24292e"}
FAINT = "#6e7781"


def number(axes: Axes, panel: Panel, answers: Answers) -> None:
    axes.axis("off")
    values = [series.points[-1][1] for _, found in answers for series in found]
    text = in_words(values[0], panel.unit, panel.decimals) if values else NO_DATA
    colour = _colour(values[0], panel) if values else FAINT
    axes.text(0.5, 0.45, text, ha="center", va="center", fontsize=20, color=colour, weight="bold")


def lines(axes: Axes, panel: Panel, answers: Answers, span: Span) -> None:
    _time(axes, span)
    named = [
        (legend(target, series.labels) or "value", series)
        for target, found in answers
        for series in found
        if any(math.isfinite(value) for _, value in series.points)
    ]
    # The largest, in the order of their names, so that a pod has one colour in all panels.
    named.sort(key=lambda one: -max(v for _, v in one[1].points if math.isfinite(v)))
    shown = sorted(named[:MOST_LINES], key=lambda one: one[0])
    for place, (name, series) in enumerate(shown if not panel.is_stacked else ()):
        times, values = with_gaps(series, span)
        colour = COLOURS[place % len(COLOURS)]
        axes.plot(times, values, label=name, marker=".", markersize=2.5, color=colour, lw=1.4)
    if panel.is_stacked:
        _stack(axes, shown, span)
    for value, colour in panel.steps[1:]:
        if value is not None and colour != "green":
            axes.axhline(value, color=STEPS[colour], lw=0.8, ls=(0, (4, 3)), alpha=0.7)
    _values(axes, panel.unit)
    if not named:
        axes.text(0.5, 0.5, NO_DATA, ha="center", va="center", transform=axes.transAxes)
        return
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -0.13),
        ncols=4 if max(len(name) for name, _ in shown) < 14 else 2,
        frameon=False,
        fontsize=6,
        handlelength=0.9,
        handletextpad=0.4,
        columnspacing=0.8,
        borderaxespad=0.0,
    )


def heatmap(axes: Axes, panel: Panel, answers: Answers, span: Span) -> None:
    """Each bucket is a row; what a bucket has is what it has above the one below it."""
    _time(axes, span)
    ((_, found),) = answers
    buckets = sorted(found, key=lambda series: float(series.labels["le"]))
    steps = round((span.ends - span.begins) / span.step_seconds) + 1
    rows, below = [], [0.0] * steps
    for series in buckets:
        values = [0.0] * steps
        for at, value in series.points:
            values[round((at - span.begins) / span.step_seconds)] = value
        rows.append([max(0.0, v - b) for v, b in zip(values, below, strict=True)])
        below = values
    if not rows:
        axes.text(0.5, 0.5, NO_DATA, ha="center", va="center", transform=axes.transAxes)
        return
    edges = [span.begins + span.step_seconds * (n - 0.5) for n in range(steps + 1)]
    shown = [[math.nan if value <= 0 else value for value in row] for row in rows]
    axes.pcolormesh(edges, range(len(rows) + 1), shown, cmap="Oranges", vmin=0, rasterized=True)
    axes.set_xlim(span.begins, span.ends)
    names = [_bound(series.labels["le"]) for series in buckets]
    axes.set_yticks([n + 1 for n in range(len(names))], names, fontsize=5.8)
    axes.tick_params(length=2, colors=FAINT)


def table(axes: Axes, panel: Panel, answers: Answers) -> None:
    axes.axis("off")
    headings = [target.legend for target, _ in answers]
    labels = sorted({name for _, found in answers for series in found for name in series.labels})
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for target, found in answers:
        unit = panel.column_units.get(target.legend, panel.unit)
        for series in found:
            key = tuple(series.labels.get(name, "") for name in labels)
            cells.setdefault(key, {})[target.legend] = in_words(series.points[-1][1], unit)
    if not cells:
        axes.text(0.5, 0.5, NO_DATA, ha="center", va="center", transform=axes.transAxes)
        return
    text = [[*key, *(row.get(name, "") for name in headings)] for key, row in cells.items()]
    height = min(1.0, 0.14 * (len(text) + 1))
    drawn = axes.table(
        cellText=sorted(text),
        colLabels=[*labels, *headings],
        cellLoc="left",
        colLoc="left",
        edges="horizontal",
        bbox=Bbox.from_bounds(0, 1 - height, 1, height),
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(7.5)
    for (row, _), cell in drawn.get_celld().items():
        cell.set_edgecolor("#d0d7de")
        cell.get_text().set_color(FAINT if row == 0 else "#24292e")


def _stack(axes: Axes, named: Sequence[tuple[str, Series]], span: Span) -> None:
    times = sorted({at for _, series in named for at, _ in series.points})
    parts = [dict(series.points) for _, series in named]
    heights = [[part.get(at, 0.0) for at in times] for part in parts]
    if heights:
        names = [name for name, _ in named]
        axes.stackplot(
            times, heights, labels=names, colors=COLOURS, alpha=0.55, step="post", lw=0.5
        )


def with_gaps(series: Series, span: Span) -> tuple[list[float], list[float]]:
    """Where a series was not there, its line is broken."""
    times: list[float] = []
    values: list[float] = []
    for at, value in series.points:
        if times and at - times[-1] > 1.5 * span.step_seconds:
            times.append(at - span.step_seconds)
            values.append(math.nan)
        times.append(at)
        values.append(value)
    return times, values


def _time(axes: Axes, span: Span) -> None:
    axes.set_xlim(span.begins, span.ends)
    axes.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda at, _: datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S"))
    )
    axes.tick_params(labelsize=6.2, length=2, colors=FAINT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#d0d7de")


def _values(axes: Axes, unit: str) -> None:
    axes.set_ylim(bottom=0)
    if not any(abs(axes.dataLim.intervaly) > 1e-9):
        axes.set_ylim(0, 1)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=unit == COUNT))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, unit)))
    axes.grid(axis="y", color="#eaeef2", lw=0.7)
    axes.set_axisbelow(True)


def _tick(value: float, unit: str) -> str:
    if unit in {RATIO, SECONDS, BYTES}:
        return in_words(value, unit)
    return f"{value:g}"


def _bound(le: str) -> str:
    return "more" if le == "+Inf" else f"{float(le):g} s"


def _colour(value: float, panel: Panel) -> str:
    colour = "text"
    for least, name in panel.steps:
        if least is None or value >= least:
            colour = name
    return STEPS[colour]

"""The few kinds of panel that our dashboards have: a sentence, a unit and questions each."""

from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders import heatmap as heatmap_builders
from grafana_foundation_sdk.builders import prometheus as prometheus_builders
from grafana_foundation_sdk.builders import stat as stat_builders
from grafana_foundation_sdk.builders import table as table_builders
from grafana_foundation_sdk.builders import timeseries as timeseries_builders
from grafana_foundation_sdk.models import common, dashboard, heatmap, prometheus

DATASOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="$datasource")

# Grafana's grid has 24 columns.
THIRD, HALF, WHOLE = 8, 12, 24
STAT_WIDTH, STAT_HEIGHT = 4, 4
HEIGHT = 8

# Grafana's names of units: categories.ts of its value formats; `suffix:` is its own escape.
SECONDS, RATIO, BYTES, COUNT = "s", "percentunit", "bytes", "short"
CALLS_A_MINUTE, TIMES_A_MINUTE = "suffix: calls/min", "suffix: /min"


AnyPanel = TypeVar(
    "AnyPanel",
    heatmap_builders.Panel,
    stat_builders.Panel,
    table_builders.Panel,
    timeseries_builders.Panel,
)


@dataclass(frozen=True, slots=True)
class Words:
    """What a panel is called, the sentence that says how to read it, and Grafana's unit."""

    title: str
    sentence: str
    unit: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A question; `legend` names each series by its labels: {{pod}}."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a value is coloured. Upwards, more is worse; otherwise less is."""

    warn: float
    alarm: float
    upwards: bool = True


def number(
    words: Words, ask: Ask, limits: Limits | None = None, *, decimals: int | None = None
) -> stat_builders.Panel:
    """One number, as of the end of what is shown."""
    panel = (
        dressed(stat_builders.Panel(), words, STAT_WIDTH, STAT_HEIGHT)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(limits))
        .with_target(target(ask, 0).instant())
    )
    return panel if decimals is None else panel.decimals(decimals)


def lines(
    words: Words,
    *asks: Ask,
    width: int = THIRD,
    stacked: bool = False,
    limits: Limits | None = None,
) -> timeseries_builders.Panel:
    """How it went; stacked where the parts make a whole."""
    panel = (
        dressed(timeseries_builders.Panel(), words, width)
        .min(0)
        .fill_opacity(40 if stacked else 8)
        .show_points(common.VisibilityMode.AUTO)
        .legend(
            common_builders.VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
        .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
        .thresholds(_thresholds(limits))
    )
    if limits is not None:
        style = common.GraphThresholdsStyleMode.DASHED
        panel.thresholds_style(common_builders.GraphThresholdsStyleConfig().mode(style))
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    for place, ask in enumerate(asks):
        panel.with_target(target(ask, place).range())
    return panel


def spread(words: Words, ask: Ask, *, width: int = HALF) -> heatmap_builders.Panel:
    """A histogram over time; `ask` gives its buckets by `le`."""
    buckets = target(ask, 0).range().format(prometheus.PromQueryFormat.HEATMAP)
    return (
        dressed(heatmap_builders.Panel(), words, width)
        .y_axis(heatmap_builders.YAxisConfig().unit(words.unit))
        .color(
            heatmap_builders.HeatmapColorOptions()
            .mode(heatmap.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .steps(64)
        )
        .with_target(buckets)
    )


def dressed(panel: AnyPanel, words: Words, width: int, height: int = HEIGHT) -> AnyPanel:
    """What every kind of panel has."""
    return (
        panel.title(words.title)
        .description(words.sentence)
        .unit(words.unit)
        .datasource(DATASOURCE)
        .height(height)
        .span(width)
    )


def target(ask: Ask, place: int) -> prometheus_builders.Dataquery:
    return (
        prometheus_builders.Dataquery()
        .ref_id(letter(place))
        .expr(ask.expression)
        .legend_format(ask.legend or "__auto")
        .datasource(DATASOURCE)
    )


def letter(place: int) -> str:
    return chr(ord("A") + place)


def _thresholds(limits: Limits | None) -> dashboard_builders.ThresholdsConfig:
    steps = [dashboard.Threshold(value=None, color="text" if limits is None else "green")]
    if limits is not None and limits.upwards:
        steps += [
            dashboard.Threshold(value=limits.warn, color="orange"),
            dashboard.Threshold(value=limits.alarm, color="red"),
        ]
    elif limits is not None:
        steps = [
            dashboard.Threshold(value=None, color="red"),
            dashboard.Threshold(value=limits.alarm, color="orange"),
            dashboard.Threshold(value=limits.warn, color="green"),
        ]
    return (
        dashboard_builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)
    )

"""A dashboard's questions as Grafana would put them to Prometheus, and the answers, by panel."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voicefleet.lab.prometheus import Prometheus, Series

# Grafana asks for about a point a pixel; a panel in a picture is so wide.
POINTS = 150


@dataclass(frozen=True, slots=True)
class Span:
    """What is shown, in unix seconds, of data that was scraped this often."""

    begins: float
    ends: float
    scrape_seconds: float

    @property
    def step_seconds(self) -> float:
        return max(self.scrape_seconds, round((self.ends - self.begins) / POINTS))

    @property
    def variables(self) -> dict[str, str]:
        """Grafana's own, https://grafana.com/docs/grafana/latest/datasources/prometheus/."""
        lately = max(self.step_seconds + self.scrape_seconds, 4 * self.scrape_seconds)
        return {
            "__rate_interval": f"{lately * 1000:.0f}ms",
            "__range": f"{(self.ends - self.begins) * 1000:.0f}ms",
        }


@dataclass(frozen=True, slots=True)
class Target:
    """One question of a panel. Instant ones are asked of the end of what is shown alone."""

    letter: str
    expression: str
    legend: str
    is_instant: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel as the JSON has it; `place` is x, y, width and height in Grafana's grid."""

    kind: str
    title: str
    description: str
    unit: str
    place: tuple[int, int, int, int]
    targets: tuple[Target, ...] = ()
    decimals: int | None = None
    is_stacked: bool = False
    steps: tuple[tuple[float | None, str], ...] = ()
    column_units: Mapping[str, str] = field(default_factory=dict)


def read(path: Path) -> tuple[str, list[Panel]]:
    """The title and the panels of a dashboard, headings of rows among them."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return document["title"], [_panel(one) for one in document["panels"]]


async def ask(
    prometheus: Prometheus, panel: Panel, span: Span, prices: Mapping[str, str]
) -> list[tuple[Target, list[Series]]]:
    """What each question of the panel gets, in the order of the panel."""
    variables = {"namespace": ".*", "fleet": ".*", **span.variables, **prices}
    answers = []
    for target in panel.targets:
        question = filled(target.expression, variables)
        begins = span.ends if target.is_instant else span.begins
        found = await prometheus.over(question, begins, span.ends, span.step_seconds)
        answers.append((target, found))
    return answers


def filled(expression: str, variables: Mapping[str, str]) -> str:
    """:raises ValueError: if a variable has no value."""
    # The longest first: $price_input_x is not $price_input.
    for name in sorted(variables, key=len, reverse=True):
        expression = expression.replace(f"${name}", variables[name])
    if "$" in expression:
        raise ValueError(f"a variable has no value: {expression}")
    return expression


def legend(target: Target, labels: Mapping[str, str]) -> str:
    """What Grafana writes beside a series."""
    text = target.legend
    if text == "__auto":
        return " ".join(value for name, value in labels.items() if name != "__name__")
    for name, value in labels.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


def _panel(document: Mapping[str, Any]) -> Panel:
    grid, options = document["gridPos"], document.get("fieldConfig", {})
    defaults = options.get("defaults", {})
    custom = defaults.get("custom", {})
    steps: Sequence[Mapping[str, Any]] = defaults.get("thresholds", {}).get("steps", ())
    return Panel(
        kind=document["type"],
        title=document["title"],
        description=document.get("description", ""),
        unit=defaults.get("unit", ""),
        place=(grid["x"], grid["y"], grid["w"], grid["h"]),
        targets=tuple(_targets(document)),
        decimals=defaults.get("decimals"),
        is_stacked=custom.get("stacking", {}).get("mode") == "normal",
        steps=tuple((step["value"], step["color"]) for step in steps),
        column_units={
            one["matcher"]["options"]: one["properties"][0]["value"]
            for one in options.get("overrides", ())
        },
    )


def _targets(document: Mapping[str, Any]) -> Iterator[Target]:
    for one in document.get("targets", ()):
        yield Target(
            one["refId"], one["expr"], one.get("legendFormat", "__auto"), bool(one.get("instant"))
        )

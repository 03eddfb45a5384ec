"""PromQL for all panels: the chosen fleets' series of a declared metric, and sums of them."""

from pathlib import Path

import yaml

from voicefleet.telemetry import names
from voicefleet.telemetry.names import Kind, Metric

RULES = Path(__file__).parent.parent / "rules"

CHOSEN = 'namespace=~"$namespace",fleet=~"$fleet"'

# What Grafana makes of its step and of the scrape interval, so that a range has enough samples.
LATELY = "$__rate_interval"
# All that the dashboard shows.
SHOWN = "$__range"


def recorded_names() -> frozenset[str]:
    """The series that ops/rules records."""
    groups = [
        group
        for path in sorted(RULES.glob("*.yaml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    return frozenset(rule["record"] for group in groups for rule in group["rules"])


def of(metric: Metric, *matchers: str) -> str:
    """The chosen fleets' series of a gauge or counter."""
    if metric.kind is Kind.HISTOGRAM:
        raise ValueError(f"{metric.name} is a histogram: ask for its buckets, sum or count")
    return _selected(metric.name, *matchers)


def part(metric: Metric, suffix: str, *matchers: str) -> str:
    """`bucket`, `sum` or `count` of a histogram."""
    return _selected(f"{metric.name}_{suffix}", *matchers)


def recorded(name: str) -> str:
    """:raises ValueError: if ops/rules records no such series."""
    if name not in recorded_names():
        raise ValueError(f"no rule records {name}")
    return _selected(name)


def draining(series: str) -> str:
    """Of these series, those of pods that drain."""
    phase = of(names.PHASE, 'phase="draining"')
    return f"{series} and on (namespace, pod) {phase} == 1"


def rate(series: str) -> str:
    return f"rate({series}[{LATELY}])"


def per_minute(series: str, *, by: str) -> str:
    return f"60 * sum by ({by}) ({rate(series)})"


def total(series: str, *, by: str = "") -> str:
    """How much a counter grew over all that the dashboard shows."""
    return f"sum{f' by ({by})' if by else ''} (increase({series}[{SHOWN}]))"


def quantile(ratio: float, metric: Metric, *matchers: str, by: str = "", over: str = LATELY) -> str:
    """Where so much of what a histogram has seen lies below; `ratio` is 0 to 1."""
    labels = f"{by}, le" if by else "le"
    growth = f"increase({part(metric, 'bucket', *matchers)}[{over}])"
    return f"histogram_quantile({ratio:g}, sum by ({labels}) ({growth}))"


def _selected(name: str, *matchers: str) -> str:
    return f"{name}{{{','.join((CHOSEN, *matchers))}}}"

"""Values in words, as Grafana would show them."""

import math

from ops.dashboards.panel import BYTES, RATIO, SECONDS


def in_words(value: float, unit: str, decimals: int | None = None) -> str:
    """A value as Grafana would show it."""
    if math.isnan(value):
        return "–"
    if unit == RATIO:
        return f"{value * 100:.{0 if decimals is None else decimals}f} %"
    if unit == SECONDS:
        return _duration(value, decimals)
    if unit == BYTES:
        return f"{value / 1024**2:.0f} MiB"
    places = decimals if decimals is not None else (0 if value == int(value) else 1)
    return f"{value:.{places}f}"


def _duration(seconds: float, decimals: int | None) -> str:
    if seconds == 0:
        return "0 s"
    if abs(seconds) < 1 and decimals is None:
        return f"{seconds * 1000:.0f} ms"
    if abs(seconds) < 60:
        return f"{seconds:.{1 if decimals is None else decimals}f} s"
    return f"{seconds / 60:.1f} min"

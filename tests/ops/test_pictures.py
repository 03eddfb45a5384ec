"""The pictures: every kind of panel is drawn from answers, also from none and from odd ones."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from ops.dashboards import asking, drawing, plots
from ops.dashboards.asking import Panel, Span, Target
from ops.dashboards.files import DASHBOARDS, FOLDER
from ops.dashboards.panel import BYTES, COUNT, RATIO, SECONDS
from ops.dashboards.picture import PICTURES
from ops.dashboards.words import in_words
from voicefleet.lab.prometheus import Series

SPAN = Span(1_000_000.0, 1_000_300.0, 5.0)
LARGEST_BYTES = 300_000


def answer(panel: Panel, target: Target) -> list[Series]:
    """Two series as of this target, one of them with a gap and a value that is no number."""
    times = [SPAN.ends] if target.is_instant else [SPAN.begins + 5 * n for n in range(60)]
    labels: Sequence[dict[str, str]] = (
        [{"le": "0.5"}, {"le": "+Inf"}] if panel.kind == "heatmap" else [{"pod": "a"}, {"pod": "b"}]
    )
    whole = [(at, 1.0 + n) for n, at in enumerate(times)]
    torn = [*whole[: len(whole) // 3], *whole[len(whole) // 2 :]]
    return [Series(labels[0], whole), Series(labels[1], [*torn[:-1], (torn[-1][0], math.nan)])]


def one_of_each_kind() -> list[Panel]:
    panels = [panel for name in DASHBOARDS for panel in asking.read(FOLDER / f"{name}.json")[1]]
    kinds = {(panel.kind, panel.is_stacked): panel for panel in panels}
    assert len(kinds) == 6
    return list(kinds.values())


@pytest.mark.parametrize("is_answered", [True, False], ids=["answered", "without data"])
def test_every_kind_of_panel_is_drawn_whatever_is_answered(
    is_answered: bool, tmp_path: Path
) -> None:
    drawn = [
        (panel, [(t, answer(panel, t) if is_answered else []) for t in panel.targets])
        for panel in one_of_each_kind()
    ]
    path = tmp_path / "board.png"
    drawing.save(path, "title", "made up", SPAN, drawn)
    with Image.open(path) as image:
        assert (image.format, image.width > 1000) == ("PNG", True)
        assert len(image.getcolors() or ()) > 10


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_picture_of_a_dashboard_is_there_and_small(name: str) -> None:
    assert 10_000 < (PICTURES / f"{name}.png").stat().st_size < LARGEST_BYTES


def test_values_are_shown_in_the_unit_of_their_panel() -> None:
    shown = [
        in_words(0.754, RATIO),
        in_words(0.99951, RATIO, 2),
        in_words(0.25, SECONDS),
        in_words(0.25, SECONDS, 2),
        in_words(150, SECONDS),
        in_words(150 * 1024**2, BYTES),
        in_words(3.0, COUNT),
        in_words(3.04, COUNT),
        in_words(math.nan, COUNT),
    ]
    assert shown == [
        *("75 %", "99.95 %", "250 ms", "0.25 s", "2.5 min"),
        *("150 MiB", "3", "3.0", "–"),
    ]


def test_a_legend_is_made_of_the_labels_it_names() -> None:
    labels = {"provider": "Cartesia", "model": "sonic"}
    assert asking.legend(Target("A", "", "{{provider}} {{model}}", False), labels) == (
        "Cartesia sonic"
    )
    assert asking.legend(Target("A", "", "__auto", False), labels) == "Cartesia sonic"


def test_a_rate_has_four_scrapes_as_in_grafana() -> None:
    """https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/"""
    assert Span(0, 300, 5).variables == {"__rate_interval": "20000ms", "__range": "300000ms"}
    assert Span(0, 86_400, 15).variables["__rate_interval"] == "591000ms"


def test_a_line_is_broken_where_a_series_was_not_there() -> None:
    series = Series({}, [(0.0, 1.0), (5.0, 1.0), (20.0, 1.0)])
    times, values = plots.with_gaps(series, SPAN)
    assert times == [0.0, 5.0, 15.0, 20.0]
    assert math.isnan(values[2])

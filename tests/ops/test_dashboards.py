"""The dashboards as Grafana reads them: what they ask for exists, and every panel explains itself.

Most of these are the rules of Grafana's dashboard-linter, which the Go proxy does not offer. Two of
its rules do not hold here. It wants variables `job` and `instance` in every query: a fleet is known
by namespace and fleet, which the chart's PodMonitor sets, whatever the job is called. And it wants
every range to be $__rate_interval: sums of all that is shown have $__range, and nothing else does.

That every query has an answer: tests/promises/test_prometheus.py.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.dashboards import asking
from ops.dashboards.asking import Panel, Span
from ops.dashboards.cost import PRICES
from ops.dashboards.files import DASHBOARDS, FOLDER
from ops.dashboards.query import recorded, recorded_names
from voicefleet.telemetry import names
from voicefleet.telemetry.names import Kind

DOCUMENTS: dict[str, dict[str, Any]] = {
    name: json.loads((FOLDER / f"{name}.json").read_text()) for name in DASHBOARDS
}
PANELS: list[Panel] = [
    panel
    for name in DASHBOARDS
    for panel in asking.read(FOLDER / f"{name}.json")[1]
    if panel.kind != "row"
]
QUERIES = [target.expression for panel in PANELS for target in panel.targets]
SUFFIXES = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}

each_board = pytest.mark.parametrize("board", DOCUMENTS.values(), ids=DOCUMENTS)
each_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)


def asked_for() -> set[str]:
    return set(re.findall(r"\bvoicefleet[_:][a-z0-9_:]+", " ".join(QUERIES)))


def declared() -> dict[str, str]:
    """What can be asked for, and the metric that it is of."""
    return {
        metric.name + suffix: metric.name
        for metric in names.METRICS
        for suffix in SUFFIXES.get(metric.kind, ("",))
    }


def test_every_query_asks_for_what_is_declared_or_recorded() -> None:
    assert asked_for() - declared().keys() - recorded_names() == set()


def test_every_metric_is_on_a_dashboard() -> None:
    shown = {metric for series, metric in declared().items() if series in asked_for()}
    assert {metric.name for metric in names.METRICS} - shown == set()


def test_a_series_that_nobody_records_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="no rule records"):
        recorded("voicefleet:nothing:sum")


@each_panel
def test_a_panel_has_a_title_a_sentence_a_unit_and_a_question(panel: Panel) -> None:
    assert panel.title
    assert re.match(r"[A-Z0-9].{10,}\.$", panel.description), panel.description
    assert panel.unit
    assert panel.targets


@each_panel
def test_every_series_is_of_the_chosen_fleets(panel: Panel) -> None:
    for target in panel.targets:
        selected = re.findall(r"\bvoicefleet[_:][a-z0-9_:]+(\{[^}]*\})?", target.expression)
        chosen = '{namespace=~"$namespace",fleet=~"$fleet"'
        assert selected
        assert all(one.startswith(chosen) for one in selected), target.expression


@each_panel
def test_a_counter_is_never_shown_bare_and_a_range_is_grafanas(panel: Panel) -> None:
    for target in panel.targets:
        counters = re.findall(
            r"(\w*)\((voicefleet_\w+(?:_total|_bucket|_count))", target.expression
        )
        every = re.findall(r"voicefleet_\w+(?:_total|_bucket|_count)\b", target.expression)
        assert len(counters) == len(every)
        assert {function for function, _ in counters} <= {"rate", "increase"}
        assert set(re.findall(r"\[(.*?)\]", target.expression)) <= {"$__rate_interval", "$__range"}


@each_board
def test_a_dashboard_lets_one_choose_prometheus_namespace_and_fleet(board: dict[str, Any]) -> None:
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == (
        "datasource",
        "prometheus",
    )
    assert variables["datasource"]["label"] == "Data Source"
    for name in ("namespace", "fleet"):
        reloads_on_time_change = 2
        assert variables[name]["refresh"] == reloads_on_time_change
        assert variables[name]["datasource"]["uid"] == "$datasource"
        # A Prometheus that gives no such label is shown, too.
        assert variables[name]["allValue"] == ".*"


@each_board
def test_a_dashboard_is_changed_in_python_and_asks_the_chosen_prometheus(
    board: dict[str, Any],
) -> None:
    assert board["editable"] is False
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    asked = [panel["datasource"] for panel in panels]
    asked += [target["datasource"] for panel in panels for target in panel["targets"]]
    assert {source["uid"] for source in asked} == {"$datasource"}


@each_board
def test_panels_have_numbers_and_do_not_lie_upon_each_other(board: dict[str, Any]) -> None:
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        grid = panel["gridPos"]
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert grid["x"] + grid["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_no_price_is_ours() -> None:
    variables = {one["name"]: one for one in DOCUMENTS["providers"]["templating"]["list"]}
    assert {name: variables[name]["query"] for name in PRICES} == dict.fromkeys(PRICES, "0")
    assert {variables[name]["type"] for name in PRICES} == {"textbox"}
    used = set(re.findall(r"\$(price_\w+)", " ".join(QUERIES)))
    assert used == set(PRICES)


def test_promtool_understands_every_query(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on PATH")
    span = Span(0.0, 3600.0, 15.0)
    variables = {"namespace": ".*", "fleet": ".*", **span.variables, **dict.fromkeys(PRICES, "1")}
    rules = [
        {"record": f"q:{n}", "expr": asking.filled(query, variables)}
        for n, query in enumerate(QUERIES)
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=none", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_question_with_a_variable_that_has_no_value_is_not_asked() -> None:
    with pytest.raises(ValueError, match="has no value"):
        asking.filled("up * $price_of_tea", {})

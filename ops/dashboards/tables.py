"""Tables: a row for each pod or model, and a column for each question."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import table as table_builders
from grafana_foundation_sdk.models import dashboard, prometheus

from ops.dashboards.panel import HALF, Ask, Words, dressed, letter, target


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers of a table, with its own unit where that is not the panel's."""

    heading: str
    expression: str
    unit: str = ""


def rows(
    words: Words, labels: Sequence[str], columns: Sequence[Column], *, width: int = HALF
) -> table_builders.Panel:
    """A row for each combination of the labels, a column for each question; most first."""
    panel = dressed(table_builders.Panel(), words, width).sort_by(
        [common_builders.TableSortByFieldState().display_name(columns[0].heading).desc(True)]
    )
    names = {}
    for place, column in enumerate(columns):
        ask = Ask(column.expression, column.heading)
        as_table = prometheus.PromQueryFormat.TABLE
        panel.with_target(target(ask, place).instant().format(as_table))
        # What Grafana calls the values of several queries; with one, there is no letter.
        field = f"Value #{letter(place)}" if len(columns) > 1 else "Value"
        names[field] = column.heading
        if column.unit:
            unit = dashboard.DynamicConfigValue(id_val="unit", value=column.unit)
            panel.override_by_name(column.heading, [unit])
    order = {name: place for place, name in enumerate((*labels, *names))}
    return panel.with_transformation(
        dashboard.DataTransformerConfig(id_val="merge", options={})
    ).with_transformation(
        dashboard.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True},
                "renameByName": names,
                "indexByName": order,
            },
        )
    )

"""What every dashboard has around its panels: which Prometheus, which fleets, its neighbours."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard

from ops.dashboards.panel import DATASOURCE

TAG = "voicefleet"

Panels = Sequence[Builder[dashboard.Panel]]


def framed(
    name: str,
    sentence: str,
    rows: dict[str, Panels],
    extra: Sequence[builders.TextBoxVariable] = (),
) -> dashboard.Dashboard:
    """The dashboard `name`, with a heading for each of its rows; `extra` is asked of the user."""
    board = (
        builders.Dashboard(f"voicefleet / {name.capitalize()}")
        .uid(f"voicefleet-{name}")
        .description(sentence)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(
            builders.DashboardLink("voicefleet")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(
            builders.DatasourceVariable("datasource").label("Data Source").type("prometheus")
        )
        .with_variable(_chosen("namespace", "label_values(voicefleet_slots, namespace)"))
        .with_variable(
            _chosen("fleet", 'label_values(voicefleet_slots{namespace=~"$namespace"}, fleet)')
        )
    )
    for variable in extra:
        board.with_variable(variable)
    for heading, panels in rows.items():
        board.with_row(builders.Row(heading))
        for panel in panels:
            board.with_panel(panel)
    return _numbered(board.build())


def _chosen(name: str, query: str) -> builders.QueryVariable:
    """All by default; all includes series that have no such label."""
    return (
        builders.QueryVariable(name)
        .label(name.capitalize())
        .datasource(DATASOURCE)
        .query(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(dashboard.VariableOption(selected=True, text="All", value="$__all"))
    )


def _numbered(board: dashboard.Dashboard) -> dashboard.Dashboard:
    """Panels have numbers, so that a link to one stays right."""
    for number, panel in enumerate(board.panels or [], start=1):
        panel.id_val = number
    return board

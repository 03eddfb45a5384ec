"""The JSON of every dashboard, as it lies in this folder and in the chart."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from ops.dashboards import calls, fleet, providers

FOLDER = Path(__file__).parent

DASHBOARDS = {"fleet": fleet.build, "calls": calls.build, "providers": providers.build}


def files() -> dict[Path, str]:
    """File to content."""
    return {
        FOLDER / f"{name}.json": json.dumps(build(), cls=JSONEncoder, indent=2, ensure_ascii=False)
        + "\n"
        for name, build in DASHBOARDS.items()
    }

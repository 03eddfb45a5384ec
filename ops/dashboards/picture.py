"""`python -m ops.dashboards.picture`: draws the dashboards from what a real Prometheus answers.

Without --prometheus it runs a small fleet for some minutes first (`drill`). It is not Grafana: it
reads the same JSON, asks the same questions, and draws what comes back.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from ops.dashboards import asking, drawing, drill
from ops.dashboards.asking import Span
from ops.dashboards.cost import PRICES
from ops.dashboards.files import DASHBOARDS, FOLDER
from voicefleet import settings as settings_module
from voicefleet.lab import livekit_server, prometheus
from voicefleet.lab.prometheus import Prometheus

PICTURES = FOLDER / "pictures"


async def draw(watching: Prometheus, span: Span, to: Path) -> None:
    """A picture of each dashboard, of what Prometheus has of this time."""
    prices = dict.fromkeys(PRICES, "0")
    for name in DASHBOARDS:
        title, panels = asking.read(FOLDER / f"{name}.json")
        drawn = [(panel, await asking.ask(watching, panel, span, prices)) for panel in panels]
        caption = (
            f"{drawing.clock(span.begins)} to {drawing.clock(span.ends)} UTC, drawn from"
            " Prometheus' answers by python -m ops.dashboards.picture; not a screenshot of Grafana"
        )
        path = to / f"{name}.png"
        drawing.save(path, title, caption, span, drawn)
        print(f"{path}: {path.stat().st_size // 1024} KiB")


async def _of_a_drill(to: Path) -> None:
    binary = settings_module.load().lab.livekit_server_bin
    livekit = await livekit_server.obtain(binary=binary, progress=print)
    with tempfile.TemporaryDirectory(prefix="picture-") as name:
        began = drill.ended(livekit, prometheus.find(), Path(name), print)
        async with began as (watching, span):
            await draw(watching, span, to)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.dashboards.picture", description=__doc__)
    parser.add_argument("--to", type=Path, default=PICTURES, help="the folder to write to")
    parser.add_argument("--prometheus", help="address of yours, instead of a drill")
    parser.add_argument("--minutes", type=float, default=60.0, help="how much of it to show")
    parser.add_argument("--scrape-seconds", type=float, default=15.0, help="how often it scrapes")
    given = parser.parse_args(arguments)
    given.to.mkdir(parents=True, exist_ok=True)
    if given.prometheus is None:
        asyncio.run(_of_a_drill(given.to))
        return
    now = time.time()
    span = Span(now - given.minutes * 60, now, given.scrape_seconds)
    asyncio.run(draw(Prometheus(given.prometheus.rstrip("/")), span, given.to))


if __name__ == "__main__":
    main(sys.argv[1:])

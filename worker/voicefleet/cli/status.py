"""`status`: show the fleet in a terminal, as the pods or a Prometheus tell it."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from voicefleet import errors
from voicefleet.cli import signals
from voicefleet.errors import ExitCode
from voicefleet.fleet import endpoints, prometheus
from voicefleet.fleet.pods import SILENT, Pod, totals

HEADINGS = ("pod", "phase", "calls", "slots", "oldest call", "drain")
NUMBERS = {"calls", "slots"}
CLEAR_SCREEN = "\x1b[2J\x1b[H"


def status(
    pod: Annotated[
        list[str] | None,
        typer.Option(help="Address of a pod; repeatable. A name may stand for several pods."),
    ] = None,
    prometheus_url: Annotated[
        str | None, typer.Option("--prometheus", help="Address of a Prometheus to ask instead.")
    ] = None,
    fleet: Annotated[
        str | None, typer.Option(help="One fleet (release) of that Prometheus. Default: all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    watch: Annotated[
        float | None, typer.Option(min=0.1, help="Ask again every so many seconds.")
    ] = None,
) -> int:
    """Show the pods: phase, calls, slots, oldest call, and how long a drain may still take.

    Ends with 75 if a pod, or the Prometheus, does not answer.
    """
    if bool(pod) == bool(prometheus_url):
        raise errors.UsageError(
            "status asks either pods or a Prometheus",
            fix="give one of them, as --pod 127.0.0.1:8081 or --prometheus http://127.0.0.1:9090",
        )
    if fleet and pod:
        raise errors.UsageError("--fleet needs --prometheus", fix="leave out --fleet, or --pod")
    if watch is None:
        return signals.run(_once(pod, prometheus_url, fleet, as_json=as_json))
    return signals.run(_again(pod, prometheus_url, fleet, watch, as_json=as_json))


async def _once(
    addresses: Sequence[str] | None, url: str | None, fleet: str | None, *, as_json: bool
) -> int:
    pods = await _ask(addresses, url, fleet)
    print(document(pods) if as_json else table(pods))
    return ExitCode.FLEET if not pods or any(pod.is_silent for pod in pods) else ExitCode.OK


async def _again(
    addresses: Sequence[str] | None,
    url: str | None,
    fleet: str | None,
    seconds: float,
    *,
    as_json: bool,
) -> int:
    """Never returns: a Prometheus that does not answer is reported, and asked again."""
    while True:
        try:
            pods = await _ask(addresses, url, fleet)
            shown = document(pods) if as_json else table(pods)
        except errors.FleetError as error:
            shown = json.dumps({"error": error.problem}) if as_json else f"error: {error.problem}"
        if not as_json:
            now = datetime.now(UTC).strftime("%H:%M:%S UTC")
            shown = f"{CLEAR_SCREEN if sys.stdout.isatty() else ''}{now}\n{shown}\n"
        print(shown, flush=True)
        await asyncio.sleep(seconds)


async def _ask(addresses: Sequence[str] | None, url: str | None, fleet: str | None) -> list[Pod]:
    return await (prometheus.ask(url, fleet) if url else endpoints.ask(addresses or ()))


def table(pods: Sequence[Pod]) -> str:
    """A line for each pod, and a summary."""
    if not pods:
        return "no pods"
    rows = [_cells(pod) for pod in pods]
    widths = [max(len(row[n]) for row in (HEADINGS, *rows)) for n in range(len(HEADINGS))]
    lines = [_line(HEADINGS, widths)]
    for pod, row in zip(pods, rows, strict=True):
        name = row[0].ljust(widths[0])
        lines.append(
            f"{name}  does not answer: {pod.problem}" if pod.is_silent else _line(row, widths)
        )
    return "\n".join([*lines, "", _summary(pods)])


def document(pods: Sequence[Pod]) -> str:
    """The pods and their totals as JSON; times are seconds."""
    return json.dumps({"pods": [asdict(pod) for pod in pods], "totals": asdict(totals(pods))})


def _cells(pod: Pod) -> tuple[str, ...]:
    if pod.is_silent:
        return (pod.name, "", "", "", "", "")
    left = pod.drain_seconds_left
    drain = "" if left is None else f"{in_words(left)} left" if left > 0 else "deadline is over"
    oldest = "" if pod.oldest_call_seconds is None else in_words(pod.oldest_call_seconds)
    return (pod.name, str(pod.phase), str(pod.calls), str(pod.slots), oldest, drain)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    placed = (
        cell.rjust(width) if heading in NUMBERS else cell.ljust(width)
        for heading, cell, width in zip(HEADINGS, cells, widths, strict=True)
    )
    return "  ".join(placed).rstrip()


def _summary(pods: Sequence[Pod]) -> str:
    together = totals(pods)
    phases = ", ".join(
        f"{count} {'do not answer' if phase == SILENT else phase}"
        for phase, count in together.pods.items()
        if count
    )
    return f"{len(pods)} pods: {phases}; {together.calls} calls, {together.free_slots} slots free"


def in_words(seconds: float) -> str:
    """Two units at most: 42 s, 4 min 5 s, 2 h 30 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

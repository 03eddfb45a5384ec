"""The Unix socket between the pod and its job processes: what a line must be."""

import asyncio

from pydantic import ValidationError

from worker.telemetry import events
from worker.telemetry.events import Fact, Order


class Wrong(Exception):
    """A line that no process of ours would send there and then."""


def fact_of(line: bytes) -> Fact:
    """:raises Wrong: if the line is no fact."""
    try:
        return events.FACT.validate_json(line)
    except ValidationError as error:
        raise Wrong(f"{error.error_count()} violations in a line of {len(line)} bytes") from None


def send(writer: asyncio.StreamWriter, order: Order) -> None:
    """Without waiting: an order is a few bytes, and a process that is gone needs none."""
    if not writer.is_closing():
        writer.write(events.line(order))

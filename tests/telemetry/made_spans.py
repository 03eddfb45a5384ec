"""Spans as the SDK makes them, without a call."""

from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags


def context(span_id: int, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(7, span_id, is_remote, TraceFlags(TraceFlags.SAMPLED))


def span(
    name: str = "span",
    *,
    span_id: int = 1,
    parent: int | None = None,
    seconds: float = 1.0,
    events: tuple[str, ...] = (),
    is_ok: bool = True,
    **attributes: Any,
) -> ReadableSpan:
    return ReadableSpan(
        name=name,
        context=context(span_id),
        parent=None if parent is None else context(parent, is_remote=True),
        resource=Resource({"service.name": "voicefleet"}),
        attributes={key.replace("__", "."): value for key, value in attributes.items()},
        events=[Event(event, {"n": 1}, 5) for event in events],
        status=Status(StatusCode.OK if is_ok else StatusCode.ERROR),
        start_time=1_000_000_000,
        end_time=1_000_000_000 + int(seconds * 1e9),
    )

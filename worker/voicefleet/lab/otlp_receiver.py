"""A collector's place: takes traces by OTLP/HTTP as the protocol has them, and can be ill.

https://opentelemetry.io/docs/specs/otlp/#otlphttp: POST /v1/traces, an ExportTraceServiceRequest in
protobuf, gzip or not; 503 asks the sender to come again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

LARGEST_BODY_BYTES = 64 * 1024 * 1024
PROTOBUF = "application/x-protobuf"


class Health(StrEnum):
    """HANGING takes a request and never answers, UNAVAILABLE answers 503, GONE does not listen."""

    WELL = "well"
    HANGING = "hanging"
    UNAVAILABLE = "unavailable"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """Ids are hexadecimal, `parent_id` is empty for a root; times are unix seconds."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    started_at: float
    ended_at: float
    attributes: Mapping[str, Any]
    events: tuple[str, ...]
    is_error: bool
    message: str
    service: str

    @property
    def seconds(self) -> float:
        return self.ended_at - self.started_at


@dataclass(slots=True)
class OtlpReceiver:
    """What has been received since it began; `bodies` are the requests as they came."""

    url: str = ""
    health: Health = Health.WELL
    spans: list[ReceivedSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    requests: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.trace_id == trace_id]

    async def wait_for(
        self, wanted: Callable[[ReceivedSpan], bool], within_seconds: float
    ) -> ReceivedSpan:
        """The first span that is wanted.

        :raises TimeoutError: if none comes in time.
        """
        async with asyncio.timeout(within_seconds):
            while True:
                found = next((span for span in self.spans if wanted(span)), None)
                if found is not None:
                    return found
                self._changed.clear()
                await self._changed.wait()

    async def take(self, request: web.Request) -> web.Response:
        """POST /v1/traces."""
        self.requests += 1
        if self.health is Health.HANGING:
            await asyncio.sleep(3600)
        if self.health is Health.UNAVAILABLE:
            return web.Response(status=503)
        body = await request.read()
        try:
            message = ExportTraceServiceRequest.FromString(body)
        except Exception:
            return web.Response(status=400)
        self.bodies.append(body)
        self.spans.extend(_spans(message))
        self._changed.set()
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type=PROTOBUF)


@asynccontextmanager
async def listening(
    receiver: OtlpReceiver | None = None, port: int = 0, health: Health = Health.WELL
) -> AsyncIterator[OtlpReceiver]:
    """Receive while the block lasts; with a receiver of before and its port, it is back again."""
    receiver = receiver or OtlpReceiver()
    receiver.health = health
    app = web.Application(client_max_size=LARGEST_BODY_BYTES)
    app.router.add_post("/v1/traces", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        if health is Health.GONE:
            await runner.cleanup()
        yield receiver
    finally:
        await runner.cleanup()


def _spans(message: ExportTraceServiceRequest) -> Iterable[ReceivedSpan]:
    for group in message.resource_spans:
        service = str(_attributes(group.resource.attributes).get("service.name", ""))
        for scoped in group.scope_spans:
            for span in scoped.spans:
                yield _span(span, service)


def _span(span: trace_pb2.Span, service: str) -> ReceivedSpan:
    return ReceivedSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        started_at=span.start_time_unix_nano / 1e9,
        ended_at=span.end_time_unix_nano / 1e9,
        attributes=_attributes(span.attributes),
        events=tuple(event.name for event in span.events),
        is_error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        message=span.status.message,
        service=service,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        found[pair.key] = getattr(pair.value, kind) if kind else None
    return found


# What is worth a line's end, by the last part of its name.
SHOWN = (
    "voicefleet.outcome",
    "voicefleet.cause",
    "voicefleet.slot",
    "voicefleet.join_seconds",
    "lk.e2e_latency",
    "lk.transcription_delay",
    "lk.end_of_turn_delay",
    "lk.response.ttft",
    "lk.response.ttfb",
    "lk.interrupted",
    "lk.eou.outcome",
    "lk.function_tool.name",
    "lk.shutdown.reason",
    "gen_ai.request.model",
)


def tree(spans: Sequence[ReceivedSpan]) -> str:
    """One line a span, in order of time; one whose parent never came stands at the top, marked."""
    if not spans:
        return "no span came"
    began = min(span.started_at for span in spans)
    known = {span.span_id for span in spans}
    tops = [span for span in spans if span.parent_id not in known]
    width = max(len(name) + 2 * depth for span in tops for depth, name in _names(span, spans, 0))
    return "\n".join(
        line for top in _in_time(tops) for line in _lines(top, spans, began, width, depth=0)
    )


def _names(
    span: ReceivedSpan, spans: Sequence[ReceivedSpan], depth: int
) -> Iterator[tuple[int, str]]:
    yield depth, span.name
    for child in _children(span, spans):
        yield from _names(child, spans, depth + 1)


def _lines(
    span: ReceivedSpan, spans: Sequence[ReceivedSpan], began: float, width: int, *, depth: int
) -> Iterator[str]:
    name = f"{'  ' * depth}{span.name}"
    at = span.started_at - began
    yield f"{at:8.3f} s {span.seconds:9.3f} s  {name:<{width}}  {_end(span, depth)}".rstrip()
    for child in _children(span, spans):
        yield from _lines(child, spans, began, width, depth=depth + 1)


def _end(span: ReceivedSpan, depth: int) -> str:
    shown = [
        f"{key.rpartition('.')[2]}={_short(value)}"
        for key in SHOWN
        if (value := span.attributes.get(key)) is not None and value is not False
    ]
    if depth == 0 and span.parent_id:
        shown.append("(its parent never ended)")
    if span.is_error:
        shown.append("ERROR")
    return " ".join(shown)


def _short(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _children(span: ReceivedSpan, spans: Sequence[ReceivedSpan]) -> list[ReceivedSpan]:
    return _in_time([child for child in spans if child.parent_id == span.span_id])


def _in_time(spans: Sequence[ReceivedSpan]) -> list[ReceivedSpan]:
    return sorted(spans, key=lambda span: (span.started_at, -span.ended_at))

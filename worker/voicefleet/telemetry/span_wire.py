"""How spans are written in a message from a job to the pod: OTLP, compressed, as base64 text."""

import base64
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from voicefleet.telemetry.messages import LONGEST_SPAN_DATA

# How long one text may be when it is decompressed. Zlib can compress a thousandfold, and a job must
# not be able to fill the memory of the pod.
LONGEST_RAW_BYTES = 8 * 1024 * 1024


class MalformedSpansError(ValueError):
    """The text is not what `encode` writes."""


def encode(spans: Sequence[ReadableSpan]) -> Iterator[str]:
    """The spans as texts of at most `LONGEST_SPAN_DATA` characters each. A single span that does
    not fit is left out; only one with a whole conversation in it could be so long.
    """
    if not spans:
        return
    raw = encode_spans(spans).SerializeToString()
    if len(raw) <= LONGEST_RAW_BYTES:
        text = base64.b64encode(zlib.compress(raw, level=1)).decode()
        if len(text) <= LONGEST_SPAN_DATA:
            yield text
            return
    if len(spans) > 1:
        half = len(spans) // 2
        yield from encode(spans[:half])
        yield from encode(spans[half:])


def decode(text: str) -> list[ReadableSpan]:
    """:raises MalformedSpansError: if `encode` cannot have written this."""
    try:
        compressed = base64.b64decode(text, validate=True)
        decompressor = zlib.decompressobj()
        raw = decompressor.decompress(compressed, LONGEST_RAW_BYTES)
        if not decompressor.eof:
            raise MalformedSpansError("cut off, or too long when decompressed")
        return list(of_request(ExportTraceServiceRequest.FromString(raw)))
    except MalformedSpansError:
        raise
    except Exception as error:
        raise MalformedSpansError(type(error).__name__) from error


def of_request(request: ExportTraceServiceRequest) -> Iterator[ReadableSpan]:
    """The spans of an OTLP request as objects of the SDK."""
    for group in request.resource_spans:
        resource = Resource(_attributes(group.resource.attributes), group.schema_url)
        for scoped in group.scope_spans:
            scope = InstrumentationScope(scoped.scope.name, scoped.scope.version, scoped.schema_url)
            for span in scoped.spans:
                yield _span(span, resource, scope)


def _span(span: trace_pb2.Span, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    parent = None
    if span.parent_span_id:
        is_remote = bool(span.flags & trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
        parent = _context(span.trace_id, span.parent_span_id, is_remote=is_remote)
    status = Status(StatusCode(span.status.code), span.status.message or None)
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id),
        parent=parent,
        resource=resource,
        attributes=_attributes(span.attributes),
        events=[Event(e.name, _attributes(e.attributes), e.time_unix_nano) for e in span.events],
        links=[
            Link(_context(k.trace_id, k.span_id), _attributes(k.attributes)) for k in span.links
        ],
        kind=SpanKind(max(0, span.kind - 1)),
        status=status,
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        instrumentation_scope=scope,
    )


def _context(trace_id: bytes, span_id: bytes, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(
        int.from_bytes(trace_id, "big"),
        int.from_bytes(span_id, "big"),
        is_remote,
        TraceFlags(TraceFlags.SAMPLED),
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    if kind == "array_value":
        return [_value(part) for part in value.array_value.values]
    if kind == "kvlist_value":
        return str(_attributes(value.kvlist_value.values))
    return getattr(value, kind)

"""Traces in the pod: its own span for each call, from the offer to the end, and everything that the
calls' processes hand over, on their way to the collector.
"""

import logging

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

from voicefleet.settings.telemetry import Telemetry
from voicefleet.telemetry import call_ids, span_wire
from voicefleet.telemetry.call_ids import resource
from voicefleet.telemetry.call_report import CallRecord
from voicefleet.telemetry.delivery_queue import Outbox
from voicefleet.telemetry.messages import Outcome, Spans
from voicefleet.telemetry.names import SpanAttribute

logger = logging.getLogger(__name__)

NANOSECONDS = 1_000_000_000

# The pod leaves without its last spans rather than late.
CLOSE_WITHIN_SECONDS = 2.0


class PodTraces:
    """Belongs to the parent's event loop, and never waits on it."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        provider = TracerProvider(
            resource=resource(), id_generator=call_ids.ChosenIds(), shutdown_on_exit=False
        )
        provider.add_span_processor(_Into(outbox))
        self._tracer = provider.get_tracer("voicefleet")

    def accept(self, spans: Spans) -> None:
        """Send on what a call's process has handed over.

        :raises MalformedSpansError: if it is nothing that our own jobs write.
        """
        self._outbox.add(span_wire.decode(spans.data))

    def call_ended(self, call: CallRecord) -> None:
        """The pod's span of this call. Under it stands what its process has told, if it was ever
        taken; a refused one may be taken by another pod, whose span that is.
        """
        root = None if call.outcome is Outcome.REFUSED else call_ids.root_span_id(call.job_id)
        with call_ids.chosen(call_ids.trace_id(call.job_id), root):
            span = self._tracer.start_span(
                "call",
                context=Context(),
                kind=SpanKind.SERVER,
                attributes=_attributes(call),
                start_time=_nanoseconds(call.offered_at),
            )
        for name, at in _stages(call).items():
            span.add_event(name, timestamp=_nanoseconds(at))
        if call.outcome in {Outcome.FAILED, Outcome.REFUSED}:
            span.set_status(Status(StatusCode.ERROR, call.cause.value))
        span.end(_nanoseconds(max(call.offered_at, call.ended_at)))

    def close(self) -> None:
        """Send what is left; blocks for two seconds at most."""
        self._outbox.close(CLOSE_WITHIN_SECONDS)


def begin(settings: Telemetry) -> PodTraces | None:
    """Traces for this pod, or None where there is no collector."""
    if not settings.exports:
        return None
    logger.info("traces go to the collector", extra={"protocol": settings.otlp_protocol})
    return PodTraces(Outbox(_exporter(settings), settings.queue_spans))


def _exporter(settings: Telemetry) -> SpanExporter:
    """The SDK's own, which reads the rest of OTEL_EXPORTER_OTLP_… itself."""
    # The outbox says once what these would say at every attempt.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    # Imported here: gRPC alone costs a tenth of a second and ten megabytes.
    if settings.otlp_protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc

        return grpc.OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http

    return http.OTLPSpanExporter()


class _Into(SpanProcessor):
    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def on_end(self, span: ReadableSpan) -> None:
        if span.context and span.context.trace_flags.sampled:
            self._outbox.add([span])


def _attributes(call: CallRecord) -> dict[str, str | int | float]:
    found: dict[SpanAttribute, str | int | float | None] = {
        SpanAttribute.JOB_ID: call.job_id,
        SpanAttribute.ROOM_ID: call.room_id,
        SpanAttribute.AGENT_NAME: call.agent_name,
        SpanAttribute.OUTCOME: call.outcome.value,
        SpanAttribute.CAUSE: call.cause.value,
        SpanAttribute.SLOT: call.slot,
        SpanAttribute.ACCEPT_SECONDS: _between(call.offered_at, call.accepted_at),
        SpanAttribute.LAUNCH_SECONDS: _between(call.accepted_at, call.launched_at),
        SpanAttribute.JOIN_SECONDS: _between(call.offered_at, call.joined_at),
    }
    return {key.value: value for key, value in found.items() if value is not None}


def _stages(call: CallRecord) -> dict[str, float]:
    stages = {
        "accepted": call.accepted_at,
        "launched": call.launched_at,
        "joined": call.joined_at,
    }
    return {name: at for name, at in stages.items() if at is not None}


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * NANOSECONDS)

"""Traces in the pod: one span of its own for each call, from the offer to the end, and the spans
that the calls' processes hand over. Both go to the collector through one queue.
"""

import logging

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode

from voicefleet.settings.telemetry import Telemetry
from voicefleet.telemetry import call_ids, span_wire
from voicefleet.telemetry.call_ids import resource
from voicefleet.telemetry.call_report import CallRecord
from voicefleet.telemetry.delivery_queue import DeliveryQueue, Policy
from voicefleet.telemetry.messages import Outcome, Spans
from voicefleet.telemetry.names import SpanAttribute

logger = logging.getLogger(__name__)

NANOSECONDS = 1_000_000_000

# As the SDK does. A POST costs 3 ms of CPU whatever is in it: two a second, as the spans come from
# the calls, would cost a call more than all else of its telemetry.
SEND_EVERY_SECONDS = 5.0
LARGEST_BATCH = 512
# Each attempt has already lasted the exporter's own time-out.
LONGEST_PAUSE_SECONDS = 15.0

# The pod stops without its last spans rather than late.
CLOSE_WITHIN_SECONDS = 2.0


class PodTraces:
    """Belongs to the parent's event loop, and never waits on it."""

    def __init__(self, queue: DeliveryQueue[ReadableSpan]) -> None:
        self._queue = queue
        provider = TracerProvider(
            resource=resource(), id_generator=call_ids.ChosenIds(), shutdown_on_exit=False
        )
        provider.add_span_processor(_IntoQueue(queue))
        self._tracer = provider.get_tracer("voicefleet")

    def accept(self, spans: Spans) -> None:
        """Send on the spans that a call's process handed over.

        :raises MalformedSpansError: if our own jobs cannot have written this.
        """
        self._queue.add(span_wire.decode(spans.data))

    def call_ended(self, call: CallRecord) -> None:
        """Write the pod's span of this call. It is the root of the call's trace, unless the call
        was refused: then another pod may take it, and the root span is that pod's.
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
        self._queue.close(CLOSE_WITHIN_SECONDS)


def begin(settings: Telemetry) -> PodTraces | None:
    """Traces for this pod, or None where there is no collector."""
    if not settings.exports:
        return None
    logger.info("traces go to the collector", extra={"protocol": settings.otlp_protocol})
    return PodTraces(queue_to(_exporter(settings), settings.queue_spans))


def queue_to(exporter: SpanExporter, most_waiting: int) -> DeliveryQueue[ReadableSpan]:
    """A queue whose receiver is the exporter."""

    def export(spans: list[ReadableSpan]) -> None:
        if exporter.export(spans) is not SpanExportResult.SUCCESS:
            # The exporter says no more, and what it logs is silenced.
            raise OSError("the collector did not take the spans")

    policy = Policy(
        most_waiting,
        largest_batch=LARGEST_BATCH,
        send_every_seconds=SEND_EVERY_SECONDS,
        longest_pause_seconds=LONGEST_PAUSE_SECONDS,
    )
    return DeliveryQueue("spans", export, policy)


def _exporter(settings: Telemetry) -> SpanExporter:
    """The SDK's own, which reads the rest of OTEL_EXPORTER_OTLP_… itself."""
    # The queue logs once what these would log at every attempt.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    # Imported here: gRPC alone costs a tenth of a second and ten megabytes.
    if settings.otlp_protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc

        return grpc.OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http

    return http.OTLPSpanExporter()


class _IntoQueue(SpanProcessor):
    def __init__(self, queue: DeliveryQueue[ReadableSpan]) -> None:
        self._queue = queue

    def on_end(self, span: ReadableSpan) -> None:
        if span.context and span.context.trace_flags.sampled:
            self._queue.add([span])


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
        SpanAttribute.RESUMES: call.resumes or None,
        SpanAttribute.SILENCE_SECONDS: call.silence_seconds if call.resumes else None,
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

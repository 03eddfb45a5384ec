"""Traces in the call's own process: its provider is there before the first span, its facts are told
as spans end, and its spans go to the pod within half a second.

The pod sends them on. So a call neither waits for a collector nor loses its last spans to one that
is down, a process that is killed leaves what it ended, and no `atexit` is needed, which job
processes do not run before Python 3.13.
"""

import logging
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from livekit.agents import get_job_context, telemetry
from livekit.agents.telemetry import pii
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from voicefleet.livekit_compat import tracer
from voicefleet.settings.telemetry import Telemetry
from voicefleet.telemetry import call_ids, span_wire
from voicefleet.telemetry.call_ids import RecordAll, is_sampled, resource
from voicefleet.telemetry.guard import never_raises
from voicefleet.telemetry.messages import CallFact, Spans
from voicefleet.telemetry.names import SpanAttribute
from voicefleet.telemetry.private import without_private
from voicefleet.telemetry.turn_facts import TurnFacts

logger = logging.getLogger(__name__)

Tell = Callable[[CallFact], None]

SEND_EVERY_MILLISECONDS = 500
# A batch is encoded at once, on a thread beside the call's audio.
LARGEST_BATCH = 64
QUEUE = 2048

ROOT = "job_entrypoint"


def set_up(settings: Telemetry, tell: Tell) -> None:
    """Give LiveKit a tracer provider for this process; before its first span, so in prewarm.

    `tell` is called from any thread, must not wait, and is how facts and spans reach the pod.
    """
    provider = CallTracerProvider(resource=resource(), shutdown_on_exit=False)
    processors: list[SpanProcessor] = []
    sending = None
    if settings.exports:
        exporter = ToThePod(tell, allow_pii=settings.allow_pii)
        sending = BatchSpanProcessor(exporter, QUEUE, SEND_EVERY_MILLISECONDS, LARGEST_BATCH)
        processors.append(sending)
    processors.append(Watching(TurnFacts(tell), sending))
    for processor in processors:
        provider.add_span_processor(processor)
    # Metadata that is not empty has LiveKit put room and job id on every span.
    metadata: dict[str, Any] = {SpanAttribute.VERSION.value: version("voicefleet")}
    telemetry.set_tracer_provider(provider, metadata=metadata, allow_pii=settings.allow_pii)
    tracer.welcome(processors, provider.placing)


class Watching(SpanProcessor):
    """Shows every span to `turns`, and hurries what is left when the call's root span ends."""

    def __init__(self, turns: TurnFacts, sending: SpanProcessor | None) -> None:
        self._turns, self._sending = turns, sending

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        with never_raises():
            self._turns.started(span)

    def on_end(self, span: ReadableSpan) -> None:
        with never_raises():
            self._turns.ended(span)
            if span.name == ROOT and self._sending is not None:
                # To the pod beside us: milliseconds, whatever the collector does.
                self._sending.force_flush()

    def shutdown(self) -> None:
        """Nothing is held."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class ToThePod(SpanExporter):
    """Hands spans to the pod; runs on the batch processor's thread."""

    def __init__(self, tell: Tell, *, allow_pii: bool) -> None:
        self._tell, self._allow_pii = tell, allow_pii

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        # At a provider that the agent file set, LiveKit itself takes nothing out.
        kept = spans if self._allow_pii else [without_private(pii.redact(span)) for span in spans]
        for text in span_wire.encode(kept):
            self._tell(Spans(data=text))
        return SpanExportResult.SUCCESS


class CallTracerProvider(TracerProvider):
    """Spans that have no parent belong under the pod's span of the call."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._sampling = self.sampler
        # What is not sampled is still counted.
        self.sampler = RecordAll(self._sampling)

    def get_tracer(self, *arguments: Any, **named: Any) -> trace.Tracer:
        return self.placing(super().get_tracer(*arguments, **named))

    def placing(self, tracer: trace.Tracer) -> trace.Tracer:
        """The tracer, whose spans without a parent stand under the pod's."""
        return _CallTracer(tracer, self._under_the_pods_span)

    def _under_the_pods_span(self, context: Context | None) -> Context | None:
        if trace.get_current_span(context).get_span_context().is_valid:
            return context
        job = get_job_context(required=False)
        if job is None:
            return context
        trace_id = call_ids.trace_id(job.job.id)
        flags = TraceFlags(TraceFlags.SAMPLED if is_sampled(self._sampling, trace_id) else 0)
        parent = SpanContext(trace_id, call_ids.root_span_id(job.job.id), True, flags)
        return trace.set_span_in_context(NonRecordingSpan(parent), context)


class _CallTracer(trace.Tracer):
    def __init__(
        self, tracer: trace.Tracer, place: Callable[[Context | None], Context | None]
    ) -> None:
        self._tracer, self._place = tracer, place

    def start_span(
        self, name: str, context: Context | None = None, *arguments: Any, **named: Any
    ) -> trace.Span:
        return self._tracer.start_span(name, self._place(context), *arguments, **named)

    def start_as_current_span(
        self, name: str, context: Context | None = None, *arguments: Any, **named: Any
    ) -> Any:
        return self._tracer.start_as_current_span(name, self._place(context), *arguments, **named)

"""Traces in a job: the facts of the call are read from its spans as they end, and the spans go to
the pod within half a second. The pod sends them to the collector.

So a call does not wait for the collector, a collector that is down costs no spans, and a job that
is killed loses at most its last half second. It also needs no `atexit`, which job processes do not
run before Python 3.13.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from livekit.agents import get_job_context, telemetry
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from voicefleet.livekit_compat import pii, spans, tracer
from voicefleet.settings.telemetry import Telemetry
from voicefleet.telemetry import call_ids, span_wire
from voicefleet.telemetry.call_ids import RecordAll, is_sampled, resource
from voicefleet.telemetry.guard import never_raises
from voicefleet.telemetry.messages import CallFact, Spans
from voicefleet.telemetry.names import SpanAttribute
from voicefleet.telemetry.private import without_private
from voicefleet.telemetry.turn_facts import TurnFacts

Tell = Callable[[CallFact], None]

SEND_EVERY_MILLISECONDS = 500
# A whole batch is encoded in one go, on a thread that competes with the call's audio.
LARGEST_BATCH = 64
MOST_WAITING = 2048


def set_up(settings: Telemetry, tell: Tell) -> None:
    """Give LiveKit a tracer provider for this process. Call it before the first span: in prewarm.

    `tell` sends facts and spans to the pod. It is called from any thread and must not wait.
    """
    provider = CallTracerProvider(resource=resource(), shutdown_on_exit=False)
    processors: list[SpanProcessor] = []
    sending = None
    if settings.exports:
        exporter = ToPod(tell, allow_pii=settings.allow_pii)
        sending = BatchSpanProcessor(exporter, MOST_WAITING, SEND_EVERY_MILLISECONDS, LARGEST_BATCH)
        processors.append(sending)
    processors.append(FactsFromSpans(TurnFacts(tell), sending))
    for processor in processors:
        provider.add_span_processor(processor)
    # LiveKit puts room and job id on every span only if there is some metadata.
    metadata: dict[str, Any] = {SpanAttribute.VERSION.value: version("voicefleet")}
    telemetry.set_tracer_provider(provider, metadata=metadata, allow_pii=settings.allow_pii)
    tracer.add_to_later_providers(processors, provider.under_pods_span, RecordAll)


class FactsFromSpans(SpanProcessor):
    """Shows every span to `turns`, and sends what is left when the job's root span ends."""

    def __init__(self, turns: TurnFacts, sending: SpanProcessor | None) -> None:
        self._turns, self._sending = turns, sending

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        with never_raises():
            self._turns.started(span)

    def on_end(self, span: ReadableSpan) -> None:
        with never_raises():
            self._turns.ended(span)
            if span.name == spans.JOB_ENTRYPOINT and self._sending is not None:
                # Takes milliseconds whatever the collector does: the pod is on this machine.
                self._sending.force_flush()

    def shutdown(self) -> None:
        """There is nothing to close."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class ToPod(SpanExporter):
    """Sends spans to the pod; runs on the batch processor's thread."""

    def __init__(self, tell: Tell, *, allow_pii: bool) -> None:
        self._tell, self._allow_pii = tell, allow_pii

    def export(self, batch: Sequence[ReadableSpan]) -> SpanExportResult:
        # At a provider that the agent file set, LiveKit itself removes nothing.
        kept = batch if self._allow_pii else [without_private(pii.redacted(s)) for s in batch]
        for text in span_wire.encode(kept):
            self._tell(Spans(data=text))
        return SpanExportResult.SUCCESS


class CallTracerProvider(TracerProvider):
    """Puts spans that have no parent under the pod's span of the call."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._sampling = self.sampler
        # What is not sampled is still counted.
        self.sampler = RecordAll(self._sampling)

    def get_tracer(self, *arguments: Any, **named: Any) -> trace.Tracer:
        return self.under_pods_span(super().get_tracer(*arguments, **named))

    def under_pods_span(self, tracer: trace.Tracer) -> trace.Tracer:
        """A tracer whose spans without a parent are children of the pod's span."""
        return _CallTracer(tracer, self._parent_context)

    def _parent_context(self, context: Context | None) -> Context | None:
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
        self, tracer: trace.Tracer, parent_of: Callable[[Context | None], Context | None]
    ) -> None:
        self._tracer, self._parent_of = tracer, parent_of

    def start_span(
        self, name: str, context: Context | None = None, *arguments: Any, **named: Any
    ) -> trace.Span:
        return self._tracer.start_span(name, self._parent_of(context), *arguments, **named)

    def start_as_current_span(
        self, name: str, context: Context | None = None, *arguments: Any, **named: Any
    ) -> Any:
        return self._tracer.start_as_current_span(
            name, self._parent_of(context), *arguments, **named
        )

"""A tracer provider that an agent file sets itself, to see its calls in Langfuse or the like: it
gets the spans, and so do we.

`telemetry.set_tracer_provider` replaces the provider of the process, whenever the file calls it;
without this its turns would not be counted and its spans not be in the call's trace.
"""

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from livekit.agents import telemetry
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from voicefleet.telemetry.call_ids import RecordAll

logger = logging.getLogger(__name__)

LIVEKIT_SCOPE = "livekit-agents"

WrapTracer = Callable[[trace.Tracer], trace.Tracer]


def welcome(processors: Sequence[SpanProcessor], wrap: WrapTracer) -> None:
    """From now on, give these to every provider that LiveKit's tracer is given; each sees LiveKit's
    spans. `wrap` places those that have no parent.
    """
    known: weakref.WeakSet[TracerProvider] = weakref.WeakSet()
    # The one place that every way of setting it goes through, also for a file that has imported
    # the function before (livekit-agents 1.8.9, telemetry/traces.py).
    set_provider = telemetry.tracer.set_provider

    def set_provider_and_ours(tracer_provider: trace.TracerProvider) -> None:
        provider = tracer_provider
        if not isinstance(provider, TracerProvider):
            logger.warning("tracer provider is not the SDK's, so turns are not counted")
        elif provider not in known:
            known.add(provider)
            _add(provider, processors, wrap)
            logger.info("the agent file's tracer provider gets the spans as well")
        set_provider(provider)

    telemetry.tracer.set_provider = set_provider_and_ours  # type: ignore[method-assign]


def _add(provider: TracerProvider, processors: Sequence[SpanProcessor], wrap: WrapTracer) -> None:
    # What the file does not sample is still counted.
    provider.sampler = RecordAll(provider.sampler)
    for processor in processors:
        provider.add_span_processor(Guest(processor))
    get_tracer = provider.get_tracer

    def get_wrapped_tracer(name: str, *arguments: Any, **named: Any) -> trace.Tracer:
        tracer = get_tracer(name, *arguments, **named)
        return wrap(tracer) if name == LIVEKIT_SCOPE else tracer

    provider.get_tracer = get_wrapped_tracer  # type: ignore[method-assign, assignment]


class Guest(SpanProcessor):
    """A processor of ours at a provider of the file: it is shown LiveKit's spans and no others, and
    a file that shuts its provider down does not shut ours.
    """

    def __init__(self, inner: SpanProcessor) -> None:
        self._inner = inner

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if _is_livekits(span):
            self._inner.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        if _is_livekits(span):
            self._inner.on_end(span)

    def shutdown(self) -> None:
        """Ours is still needed."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._inner.force_flush(timeout_millis)


def _is_livekits(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == LIVEKIT_SCOPE

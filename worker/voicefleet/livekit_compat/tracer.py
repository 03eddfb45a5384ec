"""Adds our span processors to a tracer provider that an agent file sets itself, as LiveKit's
examples do for Langfuse: the file's provider gets the spans, and so do we.

`telemetry.set_tracer_provider` replaces the provider of the process, whenever the file calls it.
Without this the call's turns would not be counted, and its spans would not be in its trace.
"""

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from livekit.agents import telemetry
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Sampler

from voicefleet.livekit_compat import spans

logger = logging.getLogger(__name__)

WrapTracer = Callable[[trace.Tracer], trace.Tracer]
WrapSampler = Callable[[Sampler], Sampler]


def add_to_later_providers(
    processors: Sequence[SpanProcessor], wrap_tracer: WrapTracer, wrap_sampler: WrapSampler
) -> None:
    """From now on, give these processors to every provider that LiveKit's tracer is given; each
    sees LiveKit's spans only. `wrap_tracer` is applied to LiveKit's tracers of that provider, and
    `wrap_sampler` to its sampler.
    """
    known: weakref.WeakSet[TracerProvider] = weakref.WeakSet()
    # The one place that every way of setting it goes through, also for a file that has imported
    # the function before (livekit-agents 1.8.9, telemetry/traces.py).
    set_provider = telemetry.tracer.set_provider

    def set_provider_and_add(tracer_provider: trace.TracerProvider) -> None:
        provider = tracer_provider
        if not isinstance(provider, TracerProvider):
            logger.warning("tracer provider is not the SDK's, so turns are not counted")
        elif provider not in known:
            known.add(provider)
            provider.sampler = wrap_sampler(provider.sampler)
            for processor in processors:
                provider.add_span_processor(LiveKitSpansOnly(processor))
            _wrap_tracers(provider, wrap_tracer)
            logger.info("the agent file's tracer provider gets the spans as well")
        set_provider(provider)

    telemetry.tracer.set_provider = set_provider_and_add  # type: ignore[method-assign]


def _wrap_tracers(provider: TracerProvider, wrap: WrapTracer) -> None:
    get_tracer = provider.get_tracer

    def get_wrapped_tracer(name: str, *arguments: Any, **named: Any) -> trace.Tracer:
        tracer = get_tracer(name, *arguments, **named)
        return wrap(tracer) if name == spans.SCOPE else tracer

    provider.get_tracer = get_wrapped_tracer  # type: ignore[method-assign, assignment]


class LiveKitSpansOnly(SpanProcessor):
    """A processor of ours at a provider of the file. It is shown LiveKit's spans and no others, and
    it stays open when the file shuts its provider down.
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
        """Not passed on: ours is still needed."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._inner.force_flush(timeout_millis)


def _is_livekits(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == spans.SCOPE

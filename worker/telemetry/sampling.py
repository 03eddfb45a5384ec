"""Sampling by the standard OTEL_TRACES_SAMPLER, without which spans would also not be counted."""

from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import Attributes


class RecordAll(Sampler):
    """What the sampler would drop is recorded and not exported, so that its facts are told."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        *rest: Any,
        **named: Any,
    ) -> SamplingResult:
        result = self._sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, *rest, **named
        )
        if result.decision is not Decision.DROP:
            return result
        # What is dropped loses the attributes that it began with.
        return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)

    def get_description(self) -> str:
        return f"RecordAll({self._sampler.get_description()})"


def is_sampled(sampler: Sampler, trace_id: int) -> bool:
    """Whether the whole trace is exported: the pod and the call's process decide alike."""
    return sampler.should_sample(None, trace_id, "call").decision is Decision.RECORD_AND_SAMPLE

"""Sampling by the standard OTEL_TRACES_SAMPLER, without which spans would also not be counted."""

from typing import Any

from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult


class RecordAll(Sampler):
    """What the sampler would drop is recorded and not exported, so that its facts are told."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(self, *arguments: Any, **named: Any) -> SamplingResult:
        result = self._sampler.should_sample(*arguments, **named)
        if result.decision is not Decision.DROP:
            return result
        return SamplingResult(Decision.RECORD_ONLY, result.attributes, result.trace_state)

    def get_description(self) -> str:
        return f"RecordAll({self._sampler.get_description()})"


def is_sampled(sampler: Sampler, trace_id: int) -> bool:
    """Whether the whole trace is exported: the pod and the call's process decide alike."""
    return sampler.should_sample(None, trace_id, "call").decision is Decision.RECORD_AND_SAMPLE

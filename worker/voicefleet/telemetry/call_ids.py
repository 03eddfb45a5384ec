"""The ids of a call's trace, which follow from its job id: the pod and the call's process each know
them without telling one another, before the first span and after the process has died.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import Attributes


def trace_id(job_id: str) -> int:
    return int.from_bytes(_hash("trace", job_id)[:16], "big") or 1


def root_span_id(job_id: str) -> int:
    """The pod's own span of the call, under which everything else stands."""
    return int.from_bytes(_hash("span", job_id)[:8], "big") or 1


def trace_id_text(job_id: str) -> str:
    """As traces and logs show it: 32 hexadecimal digits."""
    return f"{trace_id(job_id):032x}"


def _hash(kind: str, job_id: str) -> bytes:
    return hashlib.sha256(f"voicefleet {kind} {job_id}".encode()).digest()


_chosen: ContextVar[tuple[int, int | None]] = ContextVar("chosen_ids")


class ChosenIds(RandomIdGenerator):
    """Random ids, except within `chosen`."""

    def generate_trace_id(self) -> int:
        chosen = _chosen.get(None)
        return chosen[0] if chosen else super().generate_trace_id()

    def generate_span_id(self) -> int:
        chosen = _chosen.get(None)
        return chosen[1] if chosen and chosen[1] else super().generate_span_id()


@contextmanager
def chosen(trace: int, span: int | None) -> Iterator[None]:
    """The next span without a parent gets this trace id, and this span id if there is one."""
    token = _chosen.set((trace, span))
    try:
        yield
    finally:
        _chosen.reset(token)


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


def resource() -> Resource:
    """What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say; without a name it is voicefleet."""
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: "voicefleet"}))
    return found

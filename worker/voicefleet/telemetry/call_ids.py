"""The ids of a call's trace are computed from its job id. So the pod and the call's process have
the same ids without a message between them, before the first span and after the process has died.
"""

import hashlib
import re
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

# Which job of its call a job is, from 2 on; the first one has LiveKit's id as it is. LiveKit ends a
# job by its id, so each has its own.
GENERATION = re.compile(r"\.r(\d+)$")


def call_id(job_id: str) -> str:
    """The id of the call: that of its first job.

    >>> call_id("AJ_1"), call_id("AJ_1.r2")
    ('AJ_1', 'AJ_1')
    """
    return GENERATION.sub("", job_id)


def generation(job_id: str) -> int:
    """Which job of its call this is, from 1."""
    found = GENERATION.search(job_id)
    return int(found[1]) if found else 1


def next_job_id(job_id: str) -> str:
    """The id of the job that goes on with this one's call.

    >>> next_job_id("AJ_1"), next_job_id("AJ_1.r2")
    ('AJ_1.r2', 'AJ_1.r3')
    """
    return f"{call_id(job_id)}.r{generation(job_id) + 1}"


def trace_id(job_id: str) -> int:
    return int.from_bytes(_hash("trace", call_id(job_id))[:16], "big") or 1


def root_span_id(job_id: str) -> int:
    """The pod's span of the call, the parent of all its other spans."""
    return int.from_bytes(_hash("span", call_id(job_id))[:8], "big") or 1


def trace_id_text(job_id: str) -> str:
    """The trace id as traces and logs show it: 32 hexadecimal digits."""
    return f"{trace_id(job_id):032x}"


def _hash(kind: str, job_id: str) -> bytes:
    return hashlib.sha256(f"voicefleet {kind} {job_id}".encode()).digest()


_chosen: ContextVar[tuple[int, int | None]] = ContextVar("chosen_ids")


class ChosenIds(RandomIdGenerator):
    """Random ids, except inside `chosen`."""

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
    """Records the spans that the sampler drops as well, without exporting them: the facts of a call
    are read from all of its spans.
    """

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
        # The result of a dropped span has no attributes.
        return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)

    def get_description(self) -> str:
        return f"RecordAll({self._sampler.get_description()})"


def is_sampled(sampler: Sampler, trace_id: int) -> bool:
    """Whether the trace is exported. The pod and the call's process come to the same answer."""
    return sampler.should_sample(None, trace_id, "call").decision is Decision.RECORD_AND_SAMPLE


def resource() -> Resource:
    """From OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES; the default name is voicefleet."""
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: "voicefleet"}))
    return found

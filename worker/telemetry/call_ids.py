"""The ids of a call's trace, which follow from its job id: the pod and the call's process each know
them without telling one another, before the first span and after the process has died.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator


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

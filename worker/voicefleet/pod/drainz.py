"""What /drainz says and whom it obeys: pure functions, no HTTP."""

import ipaddress
import secrets
from datetime import UTC, datetime

from voicefleet.pod.calls import CallTable
from voicefleet.pod.phase import PodState

Value = str | int | float | dict[str, int] | None


def report(state: PodState, table: CallTable) -> dict[str, Value]:
    """How far the drain is. Times are unix seconds, and null without a drain or without a call.
    `calls` are those that a drain waits for, also those that finish; an offer is none yet.
    """
    deadline = state.drain_deadline_at
    return {
        "phase": state.phase.value,
        "slots": table.slots,
        "free_slots": table.free,
        "calls": table.taken,
        "calls_by_state": table.by_state(),
        "oldest_call_seconds": table.oldest_seconds,
        "drain_began_at": state.drain_began_at,
        "drain_deadline_at": deadline,
        "seconds_left": None if deadline is None else max(0.0, deadline - state.clock()),
    }


def as_lines(report: dict[str, Value]) -> str:
    """For people: a line each, times as UTC, durations in whole seconds."""
    return "".join(f"{name}: {_readable(name, value)}\n" for name, value in report.items())


def may_drain(peer: str | None, authorization: str | None, token: str | None) -> bool:
    """Whether this peer's address, or what it put into `Authorization`, allows it to start the
    drain. Without a configured token (none, or an empty one) only loopback may.
    """
    if _is_loopback(peer):
        return True
    scheme, _, credentials = (authorization or "").partition(" ")
    if not token or scheme.lower() != "bearer":
        return False
    # Header bytes that are no UTF-8 arrive as surrogates; compare_digest takes no such str.
    given = credentials.strip().encode("utf-8", "surrogateescape")
    return secrets.compare_digest(given, token.encode("utf-8", "surrogateescape"))


def _is_loopback(peer: str | None) -> bool:
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    # A socket that listens on both families shows 127.0.0.1 as ::ffff:127.0.0.1.
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _readable(name: str, value: Value) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{count} {state}" for state, count in value.items() if count) or "none"
    if isinstance(value, float):
        if name.endswith("_at"):
            return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
        return f"{value:.0f} s"
    return str(value)

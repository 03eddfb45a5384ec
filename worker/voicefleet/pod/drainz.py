"""What /drainz says and whom it obeys: pure functions, no HTTP."""

import ipaddress
import secrets
from datetime import UTC, datetime

from voicefleet.pod.calls import PodState


def report(state: PodState) -> dict[str, str | int | float | None]:
    """How far the drain is; times are unix seconds, and null without a drain or without a call."""
    deadline = state.drain_deadline_at
    return {
        "phase": state.phase.value,
        "slots": state.slots,
        "calls": state.call_count,
        "oldest_call_seconds": state.oldest_call_seconds,
        "drain_began_at": state.drain_began_at,
        "drain_deadline_at": deadline,
        "seconds_left": None if deadline is None else max(0.0, deadline - state.clock()),
    }


def as_lines(report: dict[str, str | int | float | None]) -> str:
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


def _readable(name: str, value: str | float | None) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        if name.endswith("_at"):
            return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
        return f"{value:.0f} s"
    return str(value)

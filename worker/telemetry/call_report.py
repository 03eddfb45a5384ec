"""The report of a call: one JSON document, the same in the log, in a file and at an address."""

import socket
from datetime import UTC, datetime
from typing import Any

from worker.telemetry import call_ids
from worker.telemetry.call_account import CallAccount
from worker.telemetry.call_record import CallRecord
from worker.telemetry.private import MARK

# Raised where a field is renamed or means something else; a new field is no new format.
FORMAT = 1


def document(call: CallRecord, seconds: float, account: CallAccount) -> dict[str, Any]:
    """All of it. Times are ISO 8601 in UTC, null where the call never came so far; `seconds` is the
    call's own length, from its process taking it to its end.
    """
    join_seconds = None if call.joined_at is None else call.joined_at - call.offered_at
    report: dict[str, Any] = {
        "format": FORMAT,
        "job_id": call.job_id,
        "room_id": call.room_id,
        "trace_id": call_ids.trace_id_text(call.job_id),
        "agent_name": call.agent_name,
        "pod": socket.gethostname(),
        "outcome": call.outcome.value,
        "cause": call.cause.value,
        "offered_at": _iso(call.offered_at),
        "accepted_at": _iso(call.accepted_at),
        "joined_at": _iso(call.joined_at),
        "ended_at": _iso(call.ended_at),
        "join_seconds": None if join_seconds is None else round(join_seconds, 3),
        "seconds": round(seconds, 3),
        "turns": account.turns(),
        "interruptions": account.interruptions,
        "handovers": account.handovers(),
        "usage": account.usage(),
        "provider_errors": account.provider_errors(),
        "fallbacks": account.fallbacks(),
        "stalls": {
            "count": account.stalls,
            "longest_seconds": round(account.longest_stall_seconds, 3),
        },
    }
    if account.keeps_history:
        report[f"{MARK}history"] = account.history()
        report["history_left_out_characters"] = account.left_out_characters
    return report


def _iso(at: float | None) -> str | None:
    return (
        None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    )

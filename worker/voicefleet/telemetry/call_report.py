"""The report of a call: one JSON document, from the record that the pod has of it and the totals of
the facts that its process has told.

The totals are bounded: whatever an agent file does in its process, the pod keeps no more of a call
than this.
"""

import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any

from voicefleet.telemetry import call_ids, names
from voicefleet.telemetry.messages import (
    Cause,
    Fact,
    Fallback,
    HandedOver,
    Interrupted,
    Outcome,
    ProviderError,
    ProviderKind,
    Resumed,
    Said,
    Stalled,
    TurnTaken,
    Usage,
)
from voicefleet.telemetry.metrics import MOST_HANDOVERS, MOST_MODELS, BoundedLabels
from voicefleet.telemetry.private import MARK

# Raised if a field is renamed or changes its meaning; a new field does not change the format.
FORMAT = 1

MOST_TURNS = 500
LONGEST_HISTORY_CHARACTERS = 64 * 1024

LEGS = tuple(f"{leg}_seconds" for leg in names.LEGS)
AMOUNTS = ("input_tokens", "cached_tokens", "output_tokens", "characters", "audio_seconds")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call that is over, or was refused. Times are Unix seconds, None if the call did not come so
    far. `slot` counts from 0. The call went on `resumes` times after its process had died, and its
    caller waited for `silence_seconds` in all until the agent was back.
    """

    job_id: str
    room_id: str
    agent_name: str
    outcome: Outcome
    cause: Cause
    offered_at: float
    ended_at: float
    accepted_at: float | None = None
    launched_at: float | None = None
    joined_at: float | None = None
    slot: int | None = None
    resumes: int = 0
    silence_seconds: float = 0.0


@dataclass(slots=True)
class CallTotals:
    """What the facts of one call add up to. Belongs to the parent's event loop. `keeps_history` is
    VOICEFLEET_ALLOW_PII.
    """

    keeps_history: bool = False
    turn_count: int = 0
    interruptions: int = 0
    stalls: int = 0
    longest_stall_seconds: float = 0.0
    resumes: int = 0
    silence_seconds: float = 0.0
    left_out_characters: int = 0
    _turns: list[dict[str, float]] = field(default_factory=list)
    _is_turn_open: bool = False
    _usage: dict[tuple[str, ...], Counter[str]] = field(default_factory=dict)
    _errors: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _fallbacks: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _handovers: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _failed: set[ProviderKind] = field(default_factory=set)
    _worked: set[ProviderKind] = field(default_factory=set)
    _history: list[Json] = field(default_factory=list)
    _characters: int = 0
    _models: BoundedLabels = field(default_factory=lambda: BoundedLabels(MOST_MODELS))
    _providers: BoundedLabels = field(default_factory=lambda: BoundedLabels(MOST_MODELS))
    _agents: BoundedLabels = field(default_factory=lambda: BoundedLabels(MOST_HANDOVERS))

    def add(self, fact: Fact) -> None:
        """Count a fact. Facts that are not in a report are ignored."""
        match fact:
            case TurnTaken():
                self._turn(fact)
            case Interrupted():
                self.interruptions += 1
            case Stalled():
                self.stalls += 1
                self.longest_stall_seconds = max(self.longest_stall_seconds, fact.seconds)
            case Resumed():
                self.resumes += 1
                self.silence_seconds += fact.seconds
            case Usage():
                who = self._models(fact.kind, fact.provider, fact.model)
                used = self._usage.setdefault(who, Counter())
                used.update({name: getattr(fact, name) for name in AMOUNTS})
                # LiveKit counts what a realtime model used as an LLM's.
                self._worked.update({fact.kind, "realtime"} if fact.kind == "llm" else {fact.kind})
            case ProviderError():
                is_final = "no" if fact.recoverable else "yes"
                self._errors[self._providers(fact.kind, fact.provider, is_final)] += 1
                self._failed.add(fact.kind)
            case Fallback():
                self._fallbacks[self._providers(fact.kind, fact.provider)] += 1
            case HandedOver():
                self._handovers[self._agents(fact.from_agent, fact.to_agent)] += 1
            case Said() if self.keeps_history:
                self._said(fact)
            case _:
                pass

    @property
    def lacked_a_provider(self) -> bool:
        """A kind of provider failed whenever it was asked: nobody can have been served."""
        return bool(self._failed - self._worked)

    def turns(self) -> Json:
        """The number of turns, each leg's median and maximum, and the legs of each turn."""
        legs = {}
        for leg in LEGS:
            if values := [turn[leg] for turn in self._turns if leg in turn]:
                p50, longest = round(median(values), 3), round(max(values), 3)
                legs[leg] = {"count": len(values), "p50": p50, "max": longest}
        return {"count": self.turn_count, "legs": legs, "each": self._turns}

    def usage(self) -> list[Json]:
        """What each model has used."""
        return [
            {**_named(("kind", "provider", "model"), who), **_used(amounts)}
            for who, amounts in self._usage.items()
        ]

    def provider_errors(self) -> list[Json]:
        keys = ("kind", "provider", "is_final")
        return [{**_named(keys, who), "count": count} for who, count in self._errors.items()]

    def fallbacks(self) -> list[Json]:
        keys = ("kind", "provider")
        return [{**_named(keys, who), "count": count} for who, count in self._fallbacks.items()]

    def handovers(self) -> list[Json]:
        keys = ("from", "to")
        return [{**_named(keys, who), "count": count} for who, count in self._handovers.items()]

    def history(self) -> list[Json]:
        """What was said, in order, up to `LONGEST_HISTORY_CHARACTERS`."""
        return self._history

    def _turn(self, part: TurnTaken) -> None:
        """Two facts make one turn: the caller's part begins it, and the agent's part ends it."""
        legs = {leg: round(s, 3) for leg in LEGS if (s := getattr(part, leg)) is not None}
        is_answer = "heard_seconds" in legs
        if not (is_answer and self._is_turn_open):
            self.turn_count += 1
            if len(self._turns) < MOST_TURNS:
                self._turns.append({})
        if self.turn_count == len(self._turns):
            self._turns[-1] |= legs
        self._is_turn_open = not is_answer

    def _said(self, line: Said) -> None:
        if self._characters + len(line.text) > LONGEST_HISTORY_CHARACTERS:
            self.left_out_characters += len(line.text)
            return
        self._characters += len(line.text)
        self._history.append(line.model_dump(exclude_defaults=True) | {"by": line.by})


def document(call: CallRecord, seconds: float, totals: CallTotals) -> dict[str, Any]:
    """The report. Its times are ISO 8601 in UTC, null if the call did not come so far. `seconds` is
    the length of the call, from the moment its process began with it to the end.
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
        "resumed": {
            "count": call.resumes,
            "silence_seconds": round(call.silence_seconds, 3),
        },
        "turns": totals.turns(),
        "interruptions": totals.interruptions,
        "handovers": totals.handovers(),
        "usage": totals.usage(),
        "provider_errors": totals.provider_errors(),
        "fallbacks": totals.fallbacks(),
        "stalls": {
            "count": totals.stalls,
            "longest_seconds": round(totals.longest_stall_seconds, 3),
        },
    }
    if totals.keeps_history:
        report[f"{MARK}history"] = totals.history()
        report["history_left_out_characters"] = totals.left_out_characters
    return report


def _iso(at: float | None) -> str | None:
    return (
        None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    )


def _named(keys: tuple[str, ...], values: tuple[str, ...]) -> Json:
    return dict(zip(keys, values, strict=True))


def _used(amounts: Mapping[str, float]) -> Json:
    return {name: round(amount, 3) for name, amount in amounts.items() if amount}

"""The facts of a call that LiveKit's own spans tell as they end: joined, turns, stalls, handovers.

They exist for any agent file, because LiveKit ends them whatever the file does. Span and attribute
names are those of livekit-agents 1.8.9, telemetry/trace_types.py and telemetry/loop_monitor.py.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from livekit.agents.telemetry import trace_types
from opentelemetry.sdk.trace import ReadableSpan, Span

from voicefleet.telemetry.messages import (
    LONGEST_IDENTIFIER,
    CallFact,
    HandedOver,
    Interrupted,
    Joined,
    Stalled,
    TurnTaken,
)

NANOSECONDS = 1_000_000_000

# What LiveKit calls the interruption by a caller who speaks (voice/agent_activity.py).
BY_THE_CALLER = {"audio_activity", "user_turn"}

# Turns whose parts have come and whose end has not; more are never open at once.
MOST_OPEN_TURNS = 16


@dataclass(slots=True)
class _Answer:
    """What the parts of an agent's turn have told so far; a later part replaces an earlier one,
    because after a tool call it is the last request that the caller hears.
    """

    first_token_seconds: float | None = None
    first_audio_seconds: float | None = None


class TurnFacts:
    """Tells each fact once, on the thread that ends the span, which is the job's event loop."""

    def __init__(self, tell: Callable[[CallFact], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._offered_at_ns: int | None = None
        self._answers: dict[int, _Answer] = {}

    def started(self, span: Span) -> None:
        if span.name == "job_entrypoint":
            # LiveKit dates it back to the offer.
            self._offered_at_ns = span.start_time

    def ended(self, span: ReadableSpan) -> None:
        for fact in self._told_by(span):
            self._tell(fact)

    def _told_by(self, span: ReadableSpan) -> list[CallFact]:
        attributes = span.attributes or {}
        match span.name:
            case "room_connect":
                return self._joined(span)
            case "user_turn":
                return _callers_part(attributes)
            case "llm_node":
                ttft = _seconds(attributes, trace_types.ATTR_RESPONSE_TTFT)
                if ttft is not None:
                    self._answer_of(span).first_token_seconds = ttft
            case "tts_node":
                ttfb = _seconds(attributes, trace_types.ATTR_RESPONSE_TTFB)
                if ttfb is not None:
                    self._answer_of(span).first_audio_seconds = ttfb
            case "agent_turn":
                return self._agents_part(span, attributes)
            case "event_loop_blocked":
                return [Stalled(seconds=_duration(span))]
            case "update_agent" if span.status.is_ok:
                return _handover(attributes)
        return []

    def _joined(self, span: ReadableSpan) -> list[CallFact]:
        offered, self._offered_at_ns = self._offered_at_ns, None
        if offered is None or span.end_time is None or not span.status.is_ok:
            return []
        return [Joined(seconds=max(0, span.end_time - offered) / NANOSECONDS)]

    def _answer_of(self, part: ReadableSpan) -> _Answer:
        turn = part.parent.span_id if part.parent else 0
        with self._lock:
            while len(self._answers) >= MOST_OPEN_TURNS and turn not in self._answers:
                self._answers.pop(next(iter(self._answers)))
            return self._answers.setdefault(turn, _Answer())

    def _agents_part(self, span: ReadableSpan, attributes: Mapping[str, Any]) -> list[CallFact]:
        facts: list[CallFact] = []
        with self._lock:
            answer = (
                self._answers.pop(span.context.span_id, _Answer()) if span.context else _Answer()
            )
        heard = _seconds(attributes, trace_types.ATTR_E2E_LATENCY)
        if heard is not None:
            facts.append(
                TurnTaken(
                    first_token_seconds=answer.first_token_seconds,
                    first_audio_seconds=answer.first_audio_seconds,
                    heard_seconds=heard,
                )
            )
        source = attributes.get(trace_types.ATTR_INTERRUPTION_SOURCE)
        was_heard = attributes.get(trace_types.ATTR_PLAYOUT_POSITION) is not None
        if source in BY_THE_CALLER and was_heard:
            facts.append(Interrupted())
        return facts


def _callers_part(attributes: Mapping[str, Any]) -> list[CallFact]:
    # LiveKit writes 0 where it does not know (voice/audio_recognition.py).
    transcript = _seconds(attributes, trace_types.ATTR_TRANSCRIPTION_DELAY) or None
    end_of_turn = _seconds(attributes, trace_types.ATTR_END_OF_TURN_DELAY) or None
    if transcript is None and end_of_turn is None:
        return []
    return [TurnTaken(transcript_seconds=transcript, end_of_turn_seconds=end_of_turn)]


def _handover(attributes: Mapping[str, Any]) -> list[CallFact]:
    """LiveKit ends this span when the old agent has left and the new one has been started."""
    names = (trace_types.ATTR_PREVIOUS_AGENT_LABEL, trace_types.ATTR_AGENT_LABEL)
    old, new = (str(attributes.get(n) or "unknown")[:LONGEST_IDENTIFIER] for n in names)
    return [HandedOver(from_agent=old, to_agent=new)]


def _seconds(attributes: Mapping[str, Any], name: str) -> float | None:
    """The attribute, if it is a duration; a clock that stepped back makes it 0."""
    value = attributes.get(name)
    return max(0.0, float(value)) if isinstance(value, int | float) else None


def _duration(span: ReadableSpan) -> float:
    return max(0, (span.end_time or 0) - (span.start_time or 0)) / NANOSECONDS

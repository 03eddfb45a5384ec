"""The facts of a call that are read from LiveKit's own spans as they end: joined, turns,
interruptions, stalls, handovers.

They exist for any agent file, because LiveKit ends its spans whatever the file does.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, Span

from voicefleet.livekit_compat import spans
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

# Agent turns of which a request has ended and which have not ended themselves. LiveKit never has so
# many open at once; the oldest are forgotten.
MOST_OPEN_TURNS = 16


@dataclass(slots=True)
class _Answer:
    """What the requests of an agent turn have told so far. A later request replaces an earlier one:
    after a tool call the caller hears the answer to the last one.
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
        if span.name == spans.JOB_ENTRYPOINT:
            self._offered_at_ns = span.start_time

    def ended(self, span: ReadableSpan) -> None:
        for fact in self._facts_of(span):
            self._tell(fact)

    def _facts_of(self, span: ReadableSpan) -> list[CallFact]:
        attributes = span.attributes or {}
        match span.name:
            case spans.ROOM_CONNECT:
                return self._joined(span)
            case spans.USER_TURN:
                return _user_turn(attributes)
            case spans.LLM_NODE:
                ttft = _seconds(attributes, spans.TIME_TO_FIRST_TOKEN)
                if ttft is not None:
                    self._answer_of(span).first_token_seconds = ttft
            case spans.TTS_NODE:
                ttfb = _seconds(attributes, spans.TIME_TO_FIRST_BYTE)
                if ttfb is not None:
                    self._answer_of(span).first_audio_seconds = ttfb
            case spans.AGENT_TURN:
                return self._agent_turn(span, attributes)
            case spans.EVENT_LOOP_BLOCKED:
                return [Stalled(seconds=_duration(span))]
            case spans.UPDATE_AGENT if span.status.is_ok:
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

    def _agent_turn(self, span: ReadableSpan, attributes: Mapping[str, Any]) -> list[CallFact]:
        facts: list[CallFact] = []
        with self._lock:
            answer = (
                self._answers.pop(span.context.span_id, _Answer()) if span.context else _Answer()
            )
        heard = _seconds(attributes, spans.END_TO_END_LATENCY)
        if heard is not None:
            facts.append(
                TurnTaken(
                    first_token_seconds=answer.first_token_seconds,
                    first_audio_seconds=answer.first_audio_seconds,
                    heard_seconds=heard,
                )
            )
        source = attributes.get(spans.INTERRUPTION_SOURCE)
        was_heard = attributes.get(spans.PLAYOUT_POSITION) is not None
        if source in spans.CALLER_SPOKE and was_heard:
            facts.append(Interrupted())
        return facts


def _user_turn(attributes: Mapping[str, Any]) -> list[CallFact]:
    transcript = _seconds(attributes, spans.TRANSCRIPTION_DELAY) or None
    end_of_turn = _seconds(attributes, spans.END_OF_TURN_DELAY) or None
    if transcript is None and end_of_turn is None:
        return []
    return [TurnTaken(transcript_seconds=transcript, end_of_turn_seconds=end_of_turn)]


def _handover(attributes: Mapping[str, Any]) -> list[CallFact]:
    names = (spans.PREVIOUS_AGENT, spans.NEW_AGENT)
    old, new = (str(attributes.get(n) or "unknown")[:LONGEST_IDENTIFIER] for n in names)
    return [HandedOver(from_agent=old, to_agent=new)]


def _seconds(attributes: Mapping[str, Any], name: str) -> float | None:
    """The attribute, if it is a number; a negative duration (the clock was set back) becomes 0."""
    value = attributes.get(name)
    return max(0.0, float(value)) if isinstance(value, int | float) else None


def _duration(span: ReadableSpan) -> float:
    return max(0, (span.end_time or 0) - (span.start_time or 0)) / NANOSECONDS

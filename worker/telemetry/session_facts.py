"""The facts of a call that its session tells: usage, providers' errors, fallbacks, and what is said
where that is allowed.

LiveKit has no event for a session that an agent file starts, but a span: when it starts, the
session is there and has used nothing yet.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from livekit.agents import (
    AgentSession,
    ConversationItemAddedEvent,
    ErrorEvent,
    FunctionToolsExecutedEvent,
    get_job_context,
)
from livekit.agents.llm import ChatMessage
from livekit.agents.voice.events import SessionUsageUpdatedEvent
from opentelemetry.sdk.trace import ReadableSpan, Span

from worker.telemetry.events import shortened
from worker.telemetry.facts import CallFact, Fallback, ProviderError, ProviderKind, Said, Usage
from worker.telemetry.harmless import harmless
from worker.telemetry.message import LONGEST_IDENTIFIER

KINDS: dict[str, ProviderKind] = {
    "stt_error": "stt",
    "llm_error": "llm",
    "tts_error": "tts",
    "realtime_model_error": "realtime",
}
USAGE_KINDS: dict[str, ProviderKind] = {"stt_usage": "stt", "llm_usage": "llm", "tts_usage": "tts"}

# Whose words they are; instructions are nobody's.
SPEAKERS: dict[str, Literal["caller", "agent"]] = {"user": "caller", "assistant": "agent"}

# The names that a usage has at LiveKit (1.8.9, metrics/usage.py) and with us.
AMOUNTS = {
    "input_tokens": "input_tokens",
    "input_cached_tokens": "cached_tokens",
    "output_tokens": "output_tokens",
    "characters_count": "characters",
    "audio_duration": "audio_seconds",
}


class SessionFacts:
    """Listens to the job's primary session from its start. Belongs to the job's event loop."""

    def __init__(self, tell: Callable[[CallFact], None], *, tells_history: bool = False) -> None:
        self._tell, self._tells_history = tell, tells_history
        self._told: dict[tuple[str, str, str], dict[str, float]] = {}
        self._session: AgentSession[Any] | None = None

    def started(self, span: Span) -> None:
        if span.name == "session_start" and self._session is None:
            with suppress(RuntimeError):
                self.listen(get_job_context().primary_session)

    def ended(self, span: ReadableSpan) -> None:
        """The session itself tells everything."""

    def listen(self, session: AgentSession[Any]) -> None:
        """Tell what this session tells from now on."""
        self._session = session
        session.on("session_usage_updated", self._usage_updated)
        session.on("error", self._failed)
        if self._tells_history:
            session.on("conversation_item_added", self._item_added)
            session.on("function_tools_executed", self._tools_executed)
        chains: dict[ProviderKind, Any] = {
            "stt": session.stt,
            "llm": session.llm,
            "tts": session.tts,
        }
        for kind, chain in chains.items():
            # A realtime model has no events of its own.
            if hasattr(chain, "on"):
                chain.on(f"{kind}_availability_changed", partial(self._fell_back, kind))

    # LiveKit lets a TypeError of a listener through to the call, so these must not raise.

    def _usage_updated(self, event: SessionUsageUpdatedEvent) -> None:
        """LiveKit tells sums; what is new in them is told on."""
        with harmless():
            for used in event.usage.model_usage:
                if (kind := USAGE_KINDS.get(used.type)) is not None:
                    self._used(kind, used)

    def _used(self, kind: ProviderKind, used: Any) -> None:
        sums = {ours: getattr(used, theirs, 0) for theirs, ours in AMOUNTS.items()}
        before = self._told.get((kind, used.provider, used.model), {})
        new = {name: max(0, value - before.get(name, 0)) for name, value in sums.items()}
        if any(new.values()):
            self._told[kind, used.provider, used.model] = sums
            who = {"provider": short(used.provider), "model": short(used.model)}
            self._tell(Usage.model_validate({"kind": kind, **who, **new}))

    def _item_added(self, event: ConversationItemAddedEvent) -> None:
        with harmless():
            item = event.item
            if isinstance(item, ChatMessage) and item.text_content and item.role in SPEAKERS:
                text = shortened(item.text_content)
                by = SPEAKERS[item.role]
                self._tell(Said(by=by, text=text, was_interrupted=item.interrupted))

    def _tools_executed(self, event: FunctionToolsExecutedEvent) -> None:
        with harmless():
            for asked, answered in event.zipped():
                text = shortened(f"{asked.arguments} → {answered.output}")
                self._tell(Said(by="tool", name=short(asked.name), text=text))

    def _failed(self, event: ErrorEvent) -> None:
        with harmless():
            kind = KINDS.get(getattr(event.error, "type", ""))
            if kind is not None:
                provider = short(getattr(event.source, "provider", None))
                recoverable = bool(event.error.recoverable)
                self._tell(ProviderError(kind=kind, provider=provider, recoverable=recoverable))

    def _fell_back(self, kind: ProviderKind, event: Any) -> None:
        """What a chain tells of its links (1.8.9, stt/fallback_adapter.py and its like); it keeps
        their errors to itself.
        """
        with harmless():
            if not event.available:
                provider = short(getattr(getattr(event, kind), "provider", None))
                self._tell(ProviderError(kind=kind, provider=provider, recoverable=True))
                self._tell(Fallback(kind=kind, provider=provider))


def short(name: object) -> str:
    """A name as an identifier of ours, whatever a plugin gives."""
    return str(name or "unknown")[:LONGEST_IDENTIFIER]

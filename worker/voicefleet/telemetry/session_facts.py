"""The facts of a call that are read from the events of its sessions: usage, errors of providers,
fallbacks, and, if VOICEFLEET_ALLOW_PII is set, what is said.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from livekit.agents import (
    Agent,
    AgentSession,
    ConversationItemAddedEvent,
    ErrorEvent,
    FunctionToolsExecutedEvent,
)
from livekit.agents.llm import ChatMessage
from livekit.agents.metrics import STTMetrics
from livekit.agents.voice.events import SessionUsageUpdatedEvent

from voicefleet.telemetry.guard import never_raises
from voicefleet.telemetry.messages import (
    LONGEST_IDENTIFIER,
    CallFact,
    Fallback,
    ProviderError,
    ProviderKind,
    Said,
    Usage,
    shortened,
)

# LiveKit's types of errors.
ERROR_KINDS: dict[str, ProviderKind] = {
    "stt_error": "stt",
    "llm_error": "llm",
    "tts_error": "tts",
    "realtime_model_error": "realtime",
}
# LiveKit's types of usage. The usage of an STT is read from the STT itself: see `_listen_to`.
USAGE_KINDS: dict[str, ProviderKind] = {"llm_usage": "llm", "tts_usage": "tts"}

# LiveKit's roles; instructions (`system`, `developer`) are said by nobody.
SPEAKERS: dict[str, Literal["caller", "agent"]] = {"user": "caller", "assistant": "agent"}

# The names of a usage's parts, LiveKit's (1.8.9, metrics/usage.py) and ours.
AMOUNTS = {
    "input_tokens": "input_tokens",
    "input_cached_tokens": "cached_tokens",
    "output_tokens": "output_tokens",
    "characters_count": "characters",
    "audio_duration": "audio_seconds",
}

Sums = dict[tuple[str, str, str], dict[str, float]]


class SessionFacts:
    """Listens to every session of a call. Belongs to the job's event loop."""

    def __init__(self, tell: Callable[[CallFact], None], *, tells_history: bool = False) -> None:
        self._tell, self._tells_history = tell, tells_history
        self._parts: list[Any] = []

    def listen(self, session: AgentSession[Any]) -> None:
        """Report the facts of this session. Call it once for each session, before its start."""
        sums: Sums = {}
        session.on("session_usage_updated", partial(self._usage_updated, sums))
        session.on("error", self._failed)
        if self._tells_history:
            session.on("conversation_item_added", self._item_added)
            session.on("function_tools_executed", self._tools_executed)
        session.on("conversation_item_added", partial(self._agent_enters, session))
        self._listen_to_parts(session)

    def _listen_to_parts(self, owner: AgentSession[Any] | Agent) -> None:
        self._listen_to("stt", owner.stt)
        self._listen_to("llm", owner.llm)
        self._listen_to("tts", owner.tts)

    def _listen_to(self, kind: ProviderKind, part: Any) -> None:
        """Listen to a provider or a chain of providers once, even if several sessions use it."""
        # A realtime model has no events of its own.
        if not hasattr(part, "on") or any(part is known for known in self._parts):
            return
        self._parts.append(part)
        part.on(f"{kind}_availability_changed", partial(self._fell_back, kind))
        if kind == "stt":
            # A closing session stops listening to its STT before the STT reports its last seconds
            # (1.8.9, voice/agent_activity.py, `_close_session`): in a short session, all of them.
            part.on("metrics_collected", self._recognised)

    # A TypeError of a listener reaches the call through LiveKit, so none of these may raise.

    def _usage_updated(self, told: Sums, event: SessionUsageUpdatedEvent) -> None:
        """LiveKit reports sums since the session's start; a fact has what is new in them."""
        with never_raises():
            for used in event.usage.model_usage:
                if (kind := USAGE_KINDS.get(used.type)) is not None:
                    sums = {ours: getattr(used, theirs, 0) for theirs, ours in AMOUNTS.items()}
                    before = told.get((kind, used.provider, used.model), {})
                    told[kind, used.provider, used.model] = sums
                    self._used(kind, used.provider, used.model, _growth(sums, before))

    def _recognised(self, metrics: STTMetrics) -> None:
        with never_raises():
            used = {
                "input_tokens": metrics.input_tokens,
                "output_tokens": metrics.output_tokens,
                "audio_seconds": metrics.audio_duration,
            }
            who = metrics.metadata
            self._used("stt", who and who.model_provider, who and who.model_name, used)

    def _used(
        self, kind: ProviderKind, provider: object, model: object, used: Mapping[str, float]
    ) -> None:
        if any(used.values()):
            who = {"provider": _identifier(provider), "model": _identifier(model)}
            self._tell(Usage.model_validate({"kind": kind, **who, **used}))

    def _agent_enters(self, session: AgentSession[Any], event: ConversationItemAddedEvent) -> None:
        """An agent that takes over may have providers of its own, for instance another voice."""
        with never_raises():
            if event.item.type == "agent_handoff":
                self._listen_to_parts(session.current_agent)

    def _item_added(self, event: ConversationItemAddedEvent) -> None:
        with never_raises():
            item = event.item
            if isinstance(item, ChatMessage) and item.text_content and item.role in SPEAKERS:
                text = shortened(item.text_content)
                by = SPEAKERS[item.role]
                self._tell(Said(by=by, text=text, was_interrupted=item.interrupted))

    def _tools_executed(self, event: FunctionToolsExecutedEvent) -> None:
        with never_raises():
            for asked, answered in event.zipped():
                text = shortened(f"{asked.arguments} → {answered.output}")
                self._tell(Said(by="tool", name=_identifier(asked.name), text=text))

    def _failed(self, event: ErrorEvent) -> None:
        with never_raises():
            kind = ERROR_KINDS.get(getattr(event.error, "type", ""))
            if kind is not None:
                provider = _identifier(getattr(event.source, "provider", None))
                recoverable = bool(event.error.recoverable)
                self._tell(ProviderError(kind=kind, provider=provider, recoverable=recoverable))

    def _fell_back(self, kind: ProviderKind, event: Any) -> None:
        """A chain goes on past a provider. It reports only this, and not the provider's error
        (1.8.9, stt/fallback_adapter.py and the like).
        """
        with never_raises():
            if not event.available:
                provider = _identifier(getattr(getattr(event, kind), "provider", None))
                self._tell(ProviderError(kind=kind, provider=provider, recoverable=True))
                self._tell(Fallback(kind=kind, provider=provider))


def _identifier(name: object) -> str:
    """Any name that a plugin gives, cut to the length of an identifier."""
    return str(name or "unknown")[:LONGEST_IDENTIFIER]


def _growth(sums: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """How much the sums have grown. A sum that became smaller has started again from 0."""
    return {
        name: value - last if value >= (last := before.get(name, 0)) else value
        for name, value in sums.items()
    }

"""What is told of all the sessions of a call: what they use, and what fails them."""

from typing import Any, Never

import pytest
from livekit.agents import NOT_GIVEN, AgentSession, APIConnectOptions, NotGivenOr, stt
from livekit.agents.metrics import AgentSessionUsage, LLMModelUsage, STTMetrics, STTModelUsage
from livekit.agents.metrics.base import Metadata
from livekit.agents.utils import AudioBuffer
from livekit.agents.voice.events import ErrorEvent, SessionUsageUpdatedEvent

from worker.telemetry.facts import CallFact, ProviderError, Usage
from worker.telemetry.session_facts import SessionFacts


class Ears(stt.STT[Never]):
    """An STT that hears nothing, and says what it has used when it is told to."""

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        raise AssertionError("nobody speaks")

    def tell(self, seconds: float) -> None:
        who = Metadata(model_name="nova-3", model_provider="Deepgram")
        kinds = {"request_id": "1", "label": "ears", "timestamp": 0.0, "duration": 0.0}
        used = STTMetrics(**kinds, audio_duration=seconds, streamed=True, metadata=who)
        self.emit("metrics_collected", used)


def session(ears: Ears | None = None) -> AgentSession[None]:
    options: dict[str, Any] = {} if ears is None else {"stt": ears}
    return AgentSession(vad=None, turn_handling={"turn_detection": None}, **options)


@pytest.fixture
def told() -> list[CallFact]:
    return []


@pytest.fixture
def facts(told: list[CallFact]) -> SessionFacts:
    return SessionFacts(told.append)


def uses(one: AgentSession[None], *, tokens: int, seconds: float = 0.0) -> None:
    """As LiveKit tells it: sums since the session's start."""
    llm = LLMModelUsage(provider="OpenAI", model="gpt", input_tokens=tokens)
    heard = STTModelUsage(provider="Deepgram", model="nova-3", audio_duration=seconds)
    usage = AgentSessionUsage(model_usage=[llm, heard])
    one.emit("session_usage_updated", SessionUsageUpdatedEvent(usage=usage))


def tokens(told: list[CallFact]) -> list[int]:
    return [fact.input_tokens for fact in told if isinstance(fact, Usage) and fact.kind == "llm"]


def seconds(told: list[CallFact]) -> list[float]:
    return [fact.audio_seconds for fact in told if isinstance(fact, Usage) and fact.kind == "stt"]


async def test_every_session_of_a_call_is_counted_by_its_own_sums(
    facts: SessionFacts, told: list[CallFact]
) -> None:
    """The first session alone was, so a transcriber's report had one of its participants."""
    first, second = session(), session()
    facts.listen(first)
    facts.listen(second)
    uses(first, tokens=100)
    uses(second, tokens=50)
    uses(first, tokens=130)
    uses(first, tokens=130)
    assert tokens(told) == [100, 50, 30]


async def test_a_session_that_begins_again_begins_its_sums_again(
    facts: SessionFacts, told: list[CallFact]
) -> None:
    one = session()
    facts.listen(one)
    uses(one, tokens=100)
    uses(one, tokens=20)
    assert tokens(told) == [100, 20]


async def test_a_recogniser_is_counted_once_however_many_sessions_share_it(
    facts: SessionFacts, told: list[CallFact]
) -> None:
    shared, own = Ears(), Ears()
    for ears in (shared, shared, own):
        facts.listen(session(ears))
    shared.tell(2.0)
    own.tell(3.0)
    assert seconds(told) == [2.0, 3.0]


async def test_the_last_seconds_are_counted_though_the_session_has_closed(
    facts: SessionFacts, told: list[CallFact]
) -> None:
    """LiveKit's sums leave them out: of who spoke for four seconds, everything."""
    ears = Ears()
    one = session(ears)
    facts.listen(one)
    uses(one, tokens=0, seconds=5.0)
    await one.aclose()
    ears.tell(1.5)
    assert told == [Usage(kind="stt", provider="Deepgram", model="nova-3", audio_seconds=1.5)]


async def test_an_error_of_any_session_is_counted(
    facts: SessionFacts, told: list[CallFact]
) -> None:
    ears, first, second = Ears(), session(), session()
    for one in (first, second):
        facts.listen(one)
        error = stt.STTError(timestamp=0.0, label="ears", error=OSError(), recoverable=False)
        one.emit("error", ErrorEvent(error=error, source=ears))
    failed = ProviderError(kind="stt", provider="unknown", recoverable=False)
    assert told == [failed, failed]

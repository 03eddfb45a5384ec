"""What is told of all the sessions of a call: what they use, and what fails them."""

import asyncio
from typing import Any, Never

import pytest
from livekit.agents import NOT_GIVEN, Agent, AgentSession, APIConnectOptions, NotGivenOr, stt, tts
from livekit.agents.metrics import AgentSessionUsage, LLMModelUsage, STTMetrics, STTModelUsage
from livekit.agents.metrics.base import Metadata
from livekit.agents.utils import AudioBuffer
from livekit.agents.voice.events import ErrorEvent, SessionUsageUpdatedEvent

from tests.agents.loudspeaker import Loudspeaker, Voice
from voicefleet.telemetry.messages import CallFact, Fallback, ProviderError, Usage
from voicefleet.telemetry.session_facts import SessionFacts


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


class Desk(Agent):
    """One with a voice of its own, which it uses as soon as it has the call."""

    def __init__(self, voice: tts.TTS[Any]) -> None:
        super().__init__(instructions="", tts=voice)
        self.has_spoken = asyncio.Event()

    async def on_enter(self) -> None:
        self.session.say("This is billing.").add_done_callback(lambda _: self.has_spoken.set())


async def handed_to(desk: Desk, facts: SessionFacts) -> None:
    """A call in which reception, silent, hands over to this desk."""
    one, ears = AgentSession[None](vad=None, tts=Voice()), Loudspeaker()
    one.output.audio = ears
    ears.can_end.set()
    facts.listen(one)
    async with one:
        await one.start(Agent(instructions=""))
        one.update_agent(desk)
        await asyncio.wait_for(desk.has_spoken.wait(), timeout=5)


async def test_what_fails_the_own_voice_of_a_desk_is_counted(
    facts: SessionFacts, told: list[CallFact]
) -> None:
    await handed_to(Desk(Voice(is_broken=True)), facts)
    assert told == [ProviderError(kind="tts", provider="unknown", recoverable=False)]


async def test_the_own_voice_of_a_desk_that_falls_back_is_counted(
    facts: SessionFacts, told: list[CallFact]
) -> None:
    """The session's own chain alone was listened to."""
    chain = tts.FallbackAdapter([Voice(is_broken=True), Voice()], max_retry_per_tts=0)
    await handed_to(Desk(chain), facts)
    failed = [fact for fact in told if not isinstance(fact, Usage)]
    assert failed == [
        ProviderError(kind="tts", provider="unknown", recoverable=True),
        Fallback(kind="tts", provider="unknown"),
    ]

"""Providers: what the settings choose is what the session gets, and a missing key says its name."""

import pytest
from livekit.agents import inference, stt, tts
from livekit.agents import llm as livekit_llm
from livekit.plugins import cartesia, deepgram, openai, silero

from voicefleet import errors
from voicefleet import settings as settings_module
from voicefleet.providers import keys, llm, turns
from voicefleet.providers import stt as our_stt
from voicefleet.providers import tts as our_tts
from voicefleet.providers.keys import Part
from voicefleet.settings.providers import Providers


@pytest.fixture(autouse=True)
def provider_keys(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY"):
        monkeypatch.setenv(name, "key")


def providers(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Providers:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return settings_module.load().providers


async def test_one_provider_is_its_plugin_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = providers(
        monkeypatch, VOICEFLEET_STT="deepgram/nova-2", VOICEFLEET_TTS="openai/tts-1:alloy"
    )
    heard, spoken = our_stt.build(chosen, inference.VAD()), our_tts.build(chosen)
    assert isinstance(heard, deepgram.STT)
    assert heard.model == "nova-2"
    assert isinstance(spoken, openai.TTS)
    assert spoken.model == "tts-1"


async def test_several_providers_are_a_fallback_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = providers(
        monkeypatch,
        VOICEFLEET_STT="deepgram,openai",
        VOICEFLEET_LLM="openai/gpt-4.1,openai/gpt-4.1-mini",
        VOICEFLEET_TTS="cartesia,openai",
    )
    assert isinstance(our_stt.build(chosen, inference.VAD()), stt.FallbackAdapter)
    assert isinstance(llm.build(chosen), livekit_llm.FallbackAdapter)
    assert isinstance(our_tts.build(chosen), tts.FallbackAdapter)


async def test_the_default_voice_is_cartesia(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(our_tts.build(providers(monkeypatch)), cartesia.TTS)


async def test_the_llm_can_live_elsewhere_with_its_own_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = providers(
        monkeypatch, VOICEFLEET_LLM_URL="http://llm.example:8000/v1", VOICEFLEET_LLM_API_KEY="own"
    )
    assert llm.build(chosen).provider == "llm.example:8000"


@pytest.mark.parametrize(("name", "kind"), [("livekit", inference.VAD), ("silero", silero.VAD)])
def test_the_vad_is_the_chosen_one(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: type[object]
) -> None:
    assert isinstance(turns.load_vad(providers(monkeypatch, VOICEFLEET_VAD=name)), kind)


def test_the_turn_detector_never_asks_the_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_DEV_MODE", "1")
    detector = turns.detection(providers(monkeypatch))
    assert isinstance(detector, inference.TurnDetector)
    assert detector.model == "turn-detector-v1-mini"


@pytest.mark.parametrize(
    ("chain", "needed"),
    [
        ({}, ["DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY"]),
        ({"VOICEFLEET_STT": "openai", "VOICEFLEET_TTS": "openai"}, ["OPENAI_API_KEY"]),
        (
            {
                "VOICEFLEET_STT": "deepgram",
                "VOICEFLEET_TTS": "cartesia",
                "VOICEFLEET_LLM_API_KEY": "own",
            },
            ["DEEPGRAM_API_KEY", "CARTESIA_API_KEY"],
        ),
    ],
)
def test_the_keys_needed_are_those_of_the_chosen_chains(
    monkeypatch: pytest.MonkeyPatch, chain: dict[str, str], needed: list[str]
) -> None:
    assert keys.needed(providers(monkeypatch, **chain)) == needed


@pytest.mark.parametrize(
    ("parts", "needed"),
    [({"stt"}, ["DEEPGRAM_API_KEY"]), ({"realtime"}, ["OPENAI_API_KEY"]), (set(), [])],
)
def test_an_agent_that_wants_only_some_parts_needs_only_their_keys(
    monkeypatch: pytest.MonkeyPatch, parts: set[Part], needed: list[str]
) -> None:
    assert keys.needed(providers(monkeypatch), frozenset(parts)) == needed


async def test_a_missing_key_is_named_when_the_session_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CARTESIA_API_KEY")
    with pytest.raises(errors.SettingsError, match="CARTESIA_API_KEY is not set"):
        our_tts.build(providers(monkeypatch))

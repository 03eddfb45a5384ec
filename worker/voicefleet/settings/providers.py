"""The providers: which of them hears, thinks and speaks, and their addresses and keys."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from voicefleet.settings.group import Group


@dataclass(frozen=True, slots=True)
class Model:
    """One link of a chain, written `provider[/model][:voice]`, as LiveKit writes its models."""

    provider: str
    model: str | None = None
    voice: str | None = None

    def __str__(self) -> str:
        model = f"/{self.model}" if self.model else ""
        voice = f":{self.voice}" if self.voice else ""
        return f"{self.provider}{model}{voice}"


def chain_of(*providers: str) -> Callable[[object], tuple[Model, ...]]:
    """A validator for `provider[/model][:voice],…` whose providers are among those named."""

    def parse(value: object) -> tuple[Model, ...]:
        if isinstance(value, tuple):
            return value
        links = tuple(_link(part) for part in str(value).split(",") if part.strip())
        unknown = [link.provider for link in links if link.provider not in providers]
        if unknown or not links:
            raise ValueError(
                f"expected one or more of {', '.join(providers)}, separated by commas,"
                " each with /model and :voice if you like"
            )
        return links

    return parse


def _link(text: str) -> Model:
    name, _, voice = text.strip().partition(":")
    provider, _, model = name.partition("/")
    return Model(provider.strip(), model.strip() or None, voice.strip() or None)


SttChain = Annotated[tuple[Model, ...], NoDecode, BeforeValidator(chain_of("deepgram", "openai"))]
LlmChain = Annotated[tuple[Model, ...], NoDecode, BeforeValidator(chain_of("openai"))]
RealtimeChain = Annotated[tuple[Model, ...], NoDecode, BeforeValidator(chain_of("openai"))]
TtsChain = Annotated[tuple[Model, ...], NoDecode, BeforeValidator(chain_of("cartesia", "openai"))]


class Providers(Group):
    stt: SttChain = Field(
        (Model("deepgram"),),
        validation_alias="VOICEFLEET_STT",
        description="Speech to text: deepgram or openai; several make a fallback chain.",
    )
    llm: LlmChain = Field(
        (Model("openai"),),
        validation_alias="VOICEFLEET_LLM",
        description="The LLM: openai, or anything with its API at VOICEFLEET_LLM_URL.",
    )
    tts: TtsChain = Field(
        (Model("cartesia"),),
        validation_alias="VOICEFLEET_TTS",
        description="Text to speech: cartesia or openai; several make a fallback chain.",
    )
    realtime: RealtimeChain = Field(
        (Model("openai"),),
        validation_alias="VOICEFLEET_REALTIME",
        description="The model of an agent on a speech-to-speech model: openai.",
    )
    vad: Literal["livekit", "silero"] = Field(
        "livekit",
        validation_alias="VOICEFLEET_VAD",
        description="Voice activity: livekit (in its wheel) or silero (the plugin).",
    )
    turn_detection: Literal["livekit", "english", "multilingual", "vad", "stt"] = Field(
        "livekit",
        validation_alias="VOICEFLEET_TURN_DETECTION",
        description="End of turn: livekit (local model), english, multilingual, vad or stt.",
    )
    turn_min_delay_seconds: float | None = Field(
        None,
        validation_alias="VOICEFLEET_TURN_MIN_DELAY_SECONDS",
        ge=0,
        description="Shortest silence that ends the caller's turn. Default: LiveKit's own.",
    )
    turn_max_delay_seconds: float | None = Field(
        None,
        validation_alias="VOICEFLEET_TURN_MAX_DELAY_SECONDS",
        ge=0,
        description="Longest silence, where the turn sounds unfinished. Default: LiveKit's own.",
    )
    language: str = Field(
        "en", validation_alias="VOICEFLEET_LANGUAGE", description="Language spoken, as en or en-US."
    )
    deepgram_api_key: SecretStr | None = Field(
        None, validation_alias="DEEPGRAM_API_KEY", description="Key of Deepgram."
    )
    deepgram_url: str = Field(
        "https://api.deepgram.com/v1/listen",
        validation_alias="VOICEFLEET_DEEPGRAM_URL",
        description="Deepgram's listen endpoint; another region or your own.",
    )
    openai_api_key: SecretStr | None = Field(
        None, validation_alias="OPENAI_API_KEY", description="Key of OpenAI or the compatible API."
    )
    openai_url: str = Field(
        "https://api.openai.com/v1",
        validation_alias="OPENAI_BASE_URL",
        description="OpenAI's API, or a compatible one.",
    )
    llm_url: str | None = Field(
        None,
        validation_alias="VOICEFLEET_LLM_URL",
        description="The compatible API for the LLM alone. Default: OPENAI_BASE_URL.",
    )
    llm_api_key: SecretStr | None = Field(
        None,
        validation_alias="VOICEFLEET_LLM_API_KEY",
        description="Its key. Default: OPENAI_API_KEY.",
    )
    cartesia_api_key: SecretStr | None = Field(
        None, validation_alias="CARTESIA_API_KEY", description="Key of Cartesia."
    )
    cartesia_url: str = Field(
        "https://api.cartesia.ai",
        validation_alias="VOICEFLEET_CARTESIA_URL",
        description="Cartesia's API.",
    )

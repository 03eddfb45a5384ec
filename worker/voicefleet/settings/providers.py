"""The providers: which of them hears, thinks and speaks, and their addresses, keys and options."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module, metadata
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from voicefleet.settings.group import Group

# What an agent may want of providers, and the providers that have settings of their own for it.
Part = Literal["stt", "llm", "tts", "realtime"]
BUILT_IN: dict[Part, tuple[str, ...]] = {
    "stt": ("deepgram", "openai"),
    "llm": ("openai",),
    "tts": ("cartesia", "openai"),
    "realtime": ("openai",),
}
CHAIN_SETTING: dict[Part, str] = {part: f"VOICEFLEET_{part.upper()}" for part in BUILT_IN}
OPTIONS_SETTING: dict[Part, str] = {part: f"VOICEFLEET_{part.upper()}_OPTIONS" for part in BUILT_IN}

# A plugin of LiveKit's, or a module inside one: `azure`, `azure.responses`.
PLUGIN_NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*")
PLUGINS = "livekit.plugins"
# The names of options whose values are shown to nobody.
SECRET_NAME = re.compile(
    r"(^|[_-])(key|secret|token|password|credentials|authorization)([_-]|$)", re.IGNORECASE
)
HIDDEN = "(hidden)"


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


@dataclass(frozen=True, slots=True, repr=False)
class Options:
    """More arguments for the constructors of plugins: a JSON object of objects, by provider."""

    text: str = "{}"

    def of(self, provider: str) -> dict[str, Any]:
        found: dict[str, Any] = self._parsed().get(provider, {})
        return found

    def providers(self) -> list[str]:
        return list(self._parsed())

    def secrets(self) -> list[str]:
        """The texts that stand under the name of a secret."""
        return list(_secrets(self._parsed()))

    def _parsed(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.text)
        return parsed

    def __str__(self) -> str:
        return json.dumps(_without_secrets(self._parsed()), ensure_ascii=False)

    __repr__ = __str__


def _secrets(value: Any, *, is_secret: bool = False) -> Iterator[str]:
    match value:
        case dict():
            for name, inner in value.items():
                yield from _secrets(inner, is_secret=is_secret or bool(SECRET_NAME.search(name)))
        case list():
            for inner in value:
                yield from _secrets(inner, is_secret=is_secret)
        case str() if is_secret and value:
            yield value


def _without_secrets(value: Any) -> Any:
    match value:
        case dict():
            return {
                name: HIDDEN if SECRET_NAME.search(name) else _without_secrets(inner)
                for name, inner in value.items()
            }
        case list():
            return [_without_secrets(inner) for inner in value]
    return value


def chain_of(part: Part) -> Callable[[object], tuple[Model, ...]]:
    """A validator for `provider[/model][:voice],…`: each provider is built in, or installed."""

    def parse(value: object) -> tuple[Model, ...]:
        if isinstance(value, tuple):
            return value
        links = tuple(_link(part, text) for text in str(value).split(",") if text.strip())
        if not links:
            raise ValueError(
                f"expected one or more of {', '.join(BUILT_IN[part])} or LiveKit's plugins,"
                " separated by commas, each with /model and :voice if you like"
            )
        unknown = [unknown_provider(part, link.provider) for link in links]
        if any(unknown):
            raise ValueError("; ".join(reason for reason in unknown if reason))
        return links

    return parse


def _link(part: Part, text: str) -> Model:
    # An LLM has no voice, and models are called llama3:8b.
    name, _, voice = (text.strip(), "", "") if part == "llm" else text.strip().partition(":")
    provider, _, model = name.partition("/")
    return Model(provider.strip(), model.strip() or None, voice.strip() or None)


def unknown_provider(part: Part, name: str) -> str | None:
    """Why no provider is called that, with what may be meant; None where one is.

    Looks for the plugin and does not import it, in 0.5 ms the first time.
    """
    if name in BUILT_IN[part]:
        return None
    plugin = name.partition(".")[0]
    is_name = bool(PLUGIN_NAME.fullmatch(name))
    if is_name and find_spec(f"{PLUGINS}.{plugin}") is not None:
        return None
    of_livekit = _plugins_of_livekit()
    if is_name and plugin in of_livekit:
        distribution = f"livekit-plugins-{of_livekit[plugin]}"
        return (
            f"{plugin} is not installed: install {distribution}, beside voicefleet or in your image"
        )
    known = [*BUILT_IN[part], *_installed_plugins(), *of_livekit]
    close = get_close_matches(name, known, n=1)
    meant = (
        f"did you mean {close[0]}?"
        if close
        else f"built in: {', '.join(BUILT_IN[part])}; any other must be an installed plugin"
    )
    return f"no provider or installed plugin is called {name!r}; {meant}"


def _installed_plugins() -> list[str]:
    return [module.name for module in iter_modules(import_module(PLUGINS).__path__)]


def _plugins_of_livekit() -> dict[str, str]:
    """Every plugin that this LiveKit knows, by module, with what its distribution is called."""
    wanted = (
        re.match(r"livekit-plugins-([\w-]+)", requirement)
        for requirement in metadata.requires("livekit-agents") or ()
    )
    return {found[1].replace("-", "_"): found[1] for found in wanted if found}


def _options(value: object) -> Options:
    if isinstance(value, Options):
        return value
    expected = 'expected a JSON object by provider, as {"cartesia": {"language": "de"}}'
    try:
        parsed = json.loads(str(value))
    except ValueError as error:
        raise ValueError(f"{expected}; it is no JSON: {error}") from error
    if not isinstance(parsed, dict) or not all(isinstance(v, dict) for v in parsed.values()):
        raise ValueError(expected)
    return Options(json.dumps(parsed, ensure_ascii=False))


SttChain = Annotated[tuple[Model, ...], NoDecode, BeforeValidator(chain_of("stt"))]
LlmChain = Annotated[tuple[Model, ...], NoDecode, BeforeValidator(chain_of("llm"))]
RealtimeChain = Annotated[tuple[Model, ...], NoDecode, BeforeValidator(chain_of("realtime"))]
TtsChain = Annotated[tuple[Model, ...], NoDecode, BeforeValidator(chain_of("tts"))]
PluginOptions = Annotated[Options, NoDecode, BeforeValidator(_options)]


class Providers(Group):
    stt: SttChain = Field(
        (Model("deepgram"),),
        validation_alias="VOICEFLEET_STT",
        description="Speech to text: deepgram, openai, or any LiveKit plugin; or a fallback chain.",
    )
    stt_options: PluginOptions = Field(
        Options(),
        validation_alias="VOICEFLEET_STT_OPTIONS",
        description='Arguments for STT plugins, as JSON: {"deepgram": {"smart_format": true}}.',
    )
    llm: LlmChain = Field(
        (Model("openai"),),
        validation_alias="VOICEFLEET_LLM",
        description=(
            "The LLM: openai (or its API at VOICEFLEET_LLM_URL), or any LiveKit plugin;"
            " or a fallback chain."
        ),
    )
    llm_options: PluginOptions = Field(
        Options(),
        validation_alias="VOICEFLEET_LLM_OPTIONS",
        description='Arguments for LLM plugins, as JSON: {"openai": {"temperature": 0.2}}.',
    )
    tts: TtsChain = Field(
        (Model("cartesia"),),
        validation_alias="VOICEFLEET_TTS",
        description="Text to speech: cartesia, openai, or any LiveKit plugin; or a fallback chain.",
    )
    tts_options: PluginOptions = Field(
        Options(),
        validation_alias="VOICEFLEET_TTS_OPTIONS",
        description='Arguments for TTS plugins, as JSON: {"cartesia": {"language": "de"}}.',
    )
    realtime: RealtimeChain = Field(
        (Model("openai"),),
        validation_alias="VOICEFLEET_REALTIME",
        description="Speech to speech: openai, or any LiveKit plugin; or a fallback chain.",
    )
    realtime_options: PluginOptions = Field(
        Options(),
        validation_alias="VOICEFLEET_REALTIME_OPTIONS",
        description='Arguments for VOICEFLEET_REALTIME, as JSON: {"openai": {"voice": "coral"}}.',
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

    def chain(self, part: Part) -> tuple[Model, ...]:
        chains: dict[Part, tuple[Model, ...]] = {
            "stt": self.stt,
            "llm": self.llm,
            "tts": self.tts,
            "realtime": self.realtime,
        }
        return chains[part]

    def options(self, part: Part) -> Options:
        options: dict[Part, Options] = {
            "stt": self.stt_options,
            "llm": self.llm_options,
            "tts": self.tts_options,
            "realtime": self.realtime_options,
        }
        return options[part]

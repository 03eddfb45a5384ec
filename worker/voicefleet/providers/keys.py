"""The keys of providers: which the chosen chains need, and the error where one is missing."""

from typing import Literal

from pydantic import SecretStr

from voicefleet import errors
from voicefleet.settings.providers import Model, Providers

# What an agent may want of providers.
Part = Literal["stt", "llm", "tts", "realtime"]
PIPELINE: frozenset[Part] = frozenset({"stt", "llm", "tts"})

KEY_OF = {
    "deepgram": "DEEPGRAM_API_KEY",
    "openai": "OPENAI_API_KEY",
    "cartesia": "CARTESIA_API_KEY",
}


def needed(settings: Providers, parts: frozenset[Part] = PIPELINE) -> list[str]:
    """The names of the settings that hold the keys of the providers chosen for these parts, each
    once.
    """
    if settings.llm_api_key is not None:
        parts = parts - {"llm"}
    return list(dict.fromkeys(KEY_OF[model.provider] for model in chosen(settings, parts)))


def chosen(settings: Providers, parts: frozenset[Part]) -> list[Model]:
    """Every model of the chains of these parts."""
    chains: dict[Part, tuple[Model, ...]] = {
        "stt": settings.stt,
        "llm": settings.llm,
        "tts": settings.tts,
        "realtime": settings.realtime,
    }
    return [model for part, chain in chains.items() if part in parts for model in chain]


def required(key: SecretStr | None, name: str) -> str:
    """The key in clear, for a plugin.

    :raises SettingsError: if there is none.
    """
    if key is None:
        raise errors.SettingsError(
            [(f"{name} is not set", f"set {name}, or choose another provider")]
        )
    return key.get_secret_value()

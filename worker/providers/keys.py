"""The keys of providers: which the chosen chains need, and the error where one is missing."""

from typing import Literal

from pydantic import SecretStr

from worker import errors
from worker.setting_groups import Providers

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
    llm_has_own_key = settings.llm_api_key is not None
    chosen = {
        "stt": settings.stt,
        "llm": () if llm_has_own_key else settings.llm,
        "tts": settings.tts,
        "realtime": settings.realtime,
    }
    links = [link for part, chain in chosen.items() if part in parts for link in chain]
    return list(dict.fromkeys(KEY_OF[link.provider] for link in links))


def required(key: SecretStr | None, name: str) -> str:
    """The key in clear, for a plugin.

    :raises SettingsError: if there is none.
    """
    if key is None:
        raise errors.SettingsError(
            [(f"{name} is not set", f"set {name}, or choose another provider")]
        )
    return key.get_secret_value()

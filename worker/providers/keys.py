"""The keys of providers: which the chosen chains need, and the error where one is missing."""

from pydantic import SecretStr

from worker import errors
from worker.setting_groups import Providers

KEY_OF = {
    "deepgram": "DEEPGRAM_API_KEY",
    "openai": "OPENAI_API_KEY",
    "cartesia": "CARTESIA_API_KEY",
}


def needed(settings: Providers) -> list[str]:
    """The names of the settings that hold the keys of every chosen provider, each once."""
    llm_has_own_key = settings.llm_api_key is not None
    chosen = [*settings.stt, *([] if llm_has_own_key else settings.llm), *settings.tts]
    return list(dict.fromkeys(KEY_OF[model.provider] for model in chosen))


def required(key: SecretStr | None, name: str) -> str:
    """The key in clear, for a plugin.

    :raises SettingsError: if there is none.
    """
    if key is None:
        raise errors.SettingsError(
            [(f"{name} is not set", f"set {name}, or choose another provider")]
        )
    return key.get_secret_value()

"""The keys of providers: which the chosen chains need, and the error where one is missing."""

from pydantic import SecretStr

from voicefleet import errors
from voicefleet.settings.providers import BUILT_IN, Model, Providers
from voicefleet.settings.providers import Part as Part

PIPELINE: frozenset[Part] = frozenset({"stt", "llm", "tts"})

KEY_OF = {
    "deepgram": "DEEPGRAM_API_KEY",
    "openai": "OPENAI_API_KEY",
    "cartesia": "CARTESIA_API_KEY",
}


def needed(settings: Providers, parts: frozenset[Part] = PIPELINE) -> list[str]:
    """The names of the settings that hold the keys of the providers chosen for these parts, each
    once. What other plugins read from the environment, only they know: see `preflight`.
    """
    if settings.llm_api_key is not None:
        parts = parts - {"llm"}
    providers = (model.provider for model in chosen(settings, parts))
    return list(dict.fromkeys(KEY_OF[name] for name in providers if name in KEY_OF))


def held(settings: Providers, provider: str) -> SecretStr | None:
    """The key that a setting of ours holds for this provider."""
    return {
        "deepgram": settings.deepgram_api_key,
        "openai": settings.openai_api_key,
        "cartesia": settings.cartesia_api_key,
    }.get(provider)


def chosen(settings: Providers, parts: frozenset[Part]) -> list[Model]:
    """Every model of the chains of these parts."""
    return [model for part in BUILT_IN if part in parts for model in settings.chain(part)]


def required(key: SecretStr | None, name: str) -> str:
    """The key in clear, for a plugin.

    :raises SettingsError: if there is none.
    """
    if key is None:
        raise errors.SettingsError(
            [(f"{name} is not set", f"set {name}, or choose another provider")]
        )
    return key.get_secret_value()

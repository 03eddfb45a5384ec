"""Who speaks: text-to-speech, one plugin or a chain where the next takes over from one failing."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from livekit.agents import tts
from livekit.plugins import cartesia, openai
from livekit.plugins.cartesia.models import TTSDefaultVoiceId

from voicefleet.providers import keys
from voicefleet.settings.providers import Model, Providers


def build(settings: Providers, voices: Mapping[str, str] | None = None) -> tts.TTS[Any]:
    """The TTS of `VOICEFLEET_TTS`; `voices` names one to be used at a provider in place of its own.

    :raises SettingsError: if a key that the chain needs is missing.
    """
    voiced = (
        replace(model, voice=(voices or {}).get(model.provider, model.voice))
        for model in settings.tts
    )
    links = [BUILDERS[model.provider](settings, model) for model in voiced]
    return links[0] if len(links) == 1 else tts.FallbackAdapter(links)


def _cartesia(settings: Providers, model: Model) -> tts.TTS[Any]:
    key = keys.required(settings.cartesia_api_key, "CARTESIA_API_KEY")
    return cartesia.TTS(
        model=model.model or "sonic-3",
        voice=model.voice or TTSDefaultVoiceId,
        language=settings.language,
        api_key=key,
        base_url=settings.cartesia_url,
    )


def _openai(settings: Providers, model: Model) -> tts.TTS[Any]:
    return openai.TTS(
        model=model.model or "gpt-4o-mini-tts",
        voice=model.voice or "ash",
        api_key=keys.required(settings.openai_api_key, "OPENAI_API_KEY"),
        base_url=settings.openai_url,
    )


BUILDERS: dict[str, Callable[[Providers, Model], tts.TTS[Any]]] = {
    "cartesia": _cartesia,
    "openai": _openai,
}

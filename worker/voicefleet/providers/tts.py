"""Who speaks: text-to-speech, one plugin or a chain where the next takes over from one failing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from livekit.agents import tts
from livekit.plugins import cartesia, openai
from livekit.plugins.cartesia.models import TTSDefaultVoiceId

from voicefleet.providers import keys, plugins
from voicefleet.providers.plugins import Arguments, Own
from voicefleet.settings.providers import Model, Providers


def build(settings: Providers, voices: Mapping[str, str] | None = None) -> tts.TTS[Any]:
    """The TTS of `VOICEFLEET_TTS`; `voices` names one to be used at a provider in place of its own.

    :raises SettingsError: if a plugin, a key or an option that the chain needs is missing or wrong.
    """
    voiced = (
        replace(model, voice=(voices or {}).get(model.provider, model.voice))
        for model in settings.tts
    )
    return chain([link(settings, model) for model in voiced])


def link(settings: Providers, model: Model) -> tts.TTS[Any]:
    """:raises SettingsError: as `build`."""
    made: tts.TTS[Any] = plugins.link("tts", settings, model, OWN)
    return made


def chain(links: list[tts.TTS[Any]]) -> tts.TTS[Any]:
    """:raises SettingsError: if they do not speak in as many channels."""
    return plugins.chained("tts", links, tts.FallbackAdapter)


def _cartesia(settings: Providers) -> tuple[type[cartesia.TTS], Arguments]:
    return cartesia.TTS, {
        "model": "sonic-3",
        "voice": TTSDefaultVoiceId,
        "language": settings.language,
        "api_key": keys.required(settings.cartesia_api_key, "CARTESIA_API_KEY"),
        "base_url": settings.cartesia_url,
    }


def _openai(settings: Providers) -> tuple[type[openai.TTS], Arguments]:
    return openai.TTS, {
        "model": "gpt-4o-mini-tts",
        "voice": "ash",
        "api_key": keys.required(settings.openai_api_key, "OPENAI_API_KEY"),
        "base_url": settings.openai_url,
    }


OWN: dict[str, Own] = {"cartesia": _cartesia, "openai": _openai}

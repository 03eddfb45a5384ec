"""Who hears: speech-to-text, one plugin or a chain where the next takes over from one failing."""

from typing import Any

from livekit.agents import stt, vad
from livekit.plugins import deepgram, openai

from voicefleet.providers import keys, plugins
from voicefleet.providers.plugins import Arguments, Own
from voicefleet.settings.providers import Model, Providers


def build(settings: Providers, voice_activity: vad.VAD) -> stt.STT[Any]:
    """The STT of `VOICEFLEET_STT`; the VAD cuts utterances for plugins that cannot stream.

    :raises SettingsError: if a plugin, a key or an option that the chain needs is missing or wrong.
    """
    links = [link(settings, model) for model in settings.stt]
    return links[0] if len(links) == 1 else stt.FallbackAdapter(links, vad=voice_activity)


def link(settings: Providers, model: Model) -> stt.STT[Any]:
    """:raises SettingsError: as `build`."""
    made: stt.STT[Any] = plugins.link("stt", settings, model, OWN)
    return made


def _deepgram(settings: Providers) -> tuple[type[deepgram.STT], Arguments]:
    return deepgram.STT, {
        "model": "nova-3",
        "language": settings.language,
        "api_key": keys.required(settings.deepgram_api_key, "DEEPGRAM_API_KEY"),
        "base_url": settings.deepgram_url,
    }


def _openai(settings: Providers) -> tuple[type[openai.STT], Arguments]:
    return openai.STT, {
        "model": "gpt-4o-mini-transcribe",
        "language": settings.language,
        "api_key": keys.required(settings.openai_api_key, "OPENAI_API_KEY"),
        "base_url": settings.openai_url,
    }


OWN: dict[str, Own] = {"deepgram": _deepgram, "openai": _openai}

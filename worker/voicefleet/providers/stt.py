"""Who hears: speech-to-text, one plugin or a chain where the next takes over from one failing."""

from collections.abc import Callable
from typing import Any

from livekit.agents import stt, vad
from livekit.plugins import deepgram, openai

from voicefleet.providers import keys
from voicefleet.settings.providers import Model, Providers


def build(settings: Providers, voice_activity: vad.VAD) -> stt.STT[Any]:
    """The STT of `VOICEFLEET_STT`; the VAD cuts utterances for plugins that cannot stream.

    :raises SettingsError: if a key that the chain needs is missing.
    """
    links = [BUILDERS[model.provider](settings, model) for model in settings.stt]
    return links[0] if len(links) == 1 else stt.FallbackAdapter(links, vad=voice_activity)


def _deepgram(settings: Providers, model: Model) -> stt.STT[Any]:
    return deepgram.STT(
        model=model.model or "nova-3",
        language=settings.language,
        api_key=keys.required(settings.deepgram_api_key, "DEEPGRAM_API_KEY"),
        base_url=settings.deepgram_url,
    )


def _openai(settings: Providers, model: Model) -> stt.STT[Any]:
    return openai.STT(
        model=model.model or "gpt-4o-mini-transcribe",
        language=settings.language,
        api_key=keys.required(settings.openai_api_key, "OPENAI_API_KEY"),
        base_url=settings.openai_url,
    )


BUILDERS: dict[str, Callable[[Providers, Model], stt.STT[Any]]] = {
    "deepgram": _deepgram,
    "openai": _openai,
}

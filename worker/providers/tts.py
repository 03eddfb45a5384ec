"""Who speaks: text-to-speech, one plugin or a chain in which the next takes over where one fails."""

from collections.abc import Callable

from livekit.agents import tts
from livekit.plugins import cartesia, openai

from worker.providers import keys
from worker.settings import Model, Providers


def build(settings: Providers) -> tts.TTS:
    """The TTS of `WORKER_TTS`.

    :raises SettingsError: if a key that the chain needs is missing.
    """
    links = [BUILDERS[model.provider](settings, model) for model in settings.tts]
    return links[0] if len(links) == 1 else tts.FallbackAdapter(links)


def _cartesia(settings: Providers, model: Model) -> tts.TTS:
    key = keys.required(settings.cartesia_api_key, "CARTESIA_API_KEY")
    voice = {"voice": model.voice} if model.voice else {}
    return cartesia.TTS(
        model=model.model or "sonic-3",
        language=settings.language,
        api_key=key,
        base_url=settings.cartesia_url,
        **voice,
    )


def _openai(settings: Providers, model: Model) -> tts.TTS:
    return openai.TTS(
        model=model.model or "gpt-4o-mini-tts",
        voice=model.voice or "ash",
        api_key=keys.required(settings.openai_api_key, "OPENAI_API_KEY"),
        base_url=settings.openai_url,
    )


BUILDERS: dict[str, Callable[[Providers, Model], tts.TTS]] = {
    "cartesia": _cartesia,
    "openai": _openai,
}

"""Who thinks: the LLM, one model or a chain in which the next takes over where one fails."""

from typing import Any

from livekit.agents import llm
from livekit.plugins import openai

from voicefleet.providers import keys
from voicefleet.settings.providers import Model, Providers


def build(settings: Providers) -> llm.LLM[Any]:
    """The LLM of `VOICEFLEET_LLM`.

    :raises SettingsError: if the key is missing.
    """
    links = [_openai(settings, model) for model in settings.llm]
    return links[0] if len(links) == 1 else llm.FallbackAdapter(links)


def _openai(settings: Providers, model: Model) -> llm.LLM[Any]:
    return openai.LLM(
        model=model.model or "gpt-4.1-mini",
        api_key=keys.required(settings.llm_api_key or settings.openai_api_key, "OPENAI_API_KEY"),
        base_url=settings.llm_url or settings.openai_url,
    )

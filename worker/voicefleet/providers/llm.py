"""Who thinks: the LLM, one model or a chain in which the next takes over where one fails."""

from typing import Any

from livekit.agents import llm
from livekit.plugins import openai

from voicefleet.providers import keys, plugins
from voicefleet.providers.plugins import Arguments, Own
from voicefleet.settings.providers import Model, Providers


def build(settings: Providers) -> llm.LLM[Any]:
    """The LLM of `VOICEFLEET_LLM`.

    :raises SettingsError: if a plugin, a key or an option that the chain needs is missing or wrong.
    """
    return chain([link(settings, model) for model in settings.llm])


def link(settings: Providers, model: Model) -> llm.LLM[Any]:
    """:raises SettingsError: as `build`."""
    made: llm.LLM[Any] = plugins.link("llm", settings, model, OWN)
    return made


def chain(links: list[llm.LLM[Any]]) -> llm.LLM[Any]:
    return plugins.chained("llm", links, llm.FallbackAdapter)


def _openai(settings: Providers) -> tuple[type[openai.LLM], Arguments]:
    return openai.LLM, {
        "model": "gpt-4.1-mini",
        "api_key": keys.required(settings.llm_api_key or settings.openai_api_key, "OPENAI_API_KEY"),
        "base_url": settings.llm_url or settings.openai_url,
    }


OWN: dict[str, Own] = {"openai": _openai}

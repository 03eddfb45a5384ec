"""A LiveKit session on one model that hears, thinks and speaks.

An agent file calls `voicefleet.build_realtime_session(ctx.proc)`. Of the settings only
`VOICEFLEET_REALTIME` and the key of its provider count.
"""

from contextlib import suppress
from typing import Any

from livekit.agents import NOT_GIVEN, AgentSession, JobProcess, NotGivenOr, llm
from livekit.plugins.openai import realtime as openai

from voicefleet import errors
from voicefleet.providers import keys, plugins, tts
from voicefleet.providers.plugins import Arguments, Own
from voicefleet.providers.prepared import settings_of
from voicefleet.providers.session import Userdata
from voicefleet.settings.providers import Model, Providers


def build(
    process: JobProcess, *, userdata: NotGivenOr[Userdata] = NOT_GIVEN, **options: Any
) -> AgentSession[Userdata]:
    """A session for one call; `options` go to `AgentSession`. The model hears the ends of turns.

    The voice of `VOICEFLEET_TTS` is there to apologise where the model is lost, if its key is set.
    :raises SettingsError: if a setting or the model's key is missing or wrong.
    """
    settings = settings_of(process).providers
    chosen: dict[str, Any] = {"llm": build_model(settings), "vad": None}
    with suppress(errors.SettingsError):
        chosen["tts"] = tts.build(settings)
    return AgentSession(userdata=userdata, **(chosen | options))


def build_model(settings: Providers) -> llm.RealtimeModel:
    """The model of `VOICEFLEET_REALTIME`, or a chain in which the next takes over with all that was
    said.

    :raises SettingsError: if a plugin, a key or an option that the chain needs is missing or wrong.
    """
    return chain([link(settings, model) for model in settings.realtime])


def link(settings: Providers, model: Model) -> llm.RealtimeModel:
    """:raises SettingsError: as `build_model`."""
    made: llm.RealtimeModel = plugins.link("realtime", settings, model, OWN)
    return made


def chain(links: list[llm.RealtimeModel]) -> llm.RealtimeModel:
    """:raises SettingsError: if one cannot take over from another."""
    return plugins.chained("realtime", links, llm.RealtimeModelFallbackAdapter)


def _openai(settings: Providers) -> tuple[type[openai.RealtimeModel], Arguments]:
    return openai.RealtimeModel, {
        "model": "gpt-realtime",
        "voice": "marin",
        "api_key": keys.required(settings.openai_api_key, "OPENAI_API_KEY"),
        "base_url": settings.openai_url,
    }


OWN: dict[str, Own] = {"openai": _openai}

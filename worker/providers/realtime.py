"""A LiveKit session on one model that hears, thinks and speaks: `realtime.build(ctx.proc)`.

Of the settings only `WORKER_REALTIME` and the key of its provider count.
"""

from typing import Any

from livekit.agents import NOT_GIVEN, AgentSession, JobProcess, NotGivenOr, llm
from livekit.plugins.openai import realtime as openai

from worker.providers import keys
from worker.providers.session import Userdata, settings_of
from worker.setting_groups import Model, Providers


def build(
    process: JobProcess, *, userdata: NotGivenOr[Userdata] = NOT_GIVEN, **options: Any
) -> AgentSession[Userdata]:
    """A session for one call; `options` go to `AgentSession`. The model hears the ends of turns.

    :raises SettingsError: if a setting or the model's key is missing or wrong.
    """
    model = build_model(settings_of(process).providers)
    return AgentSession(userdata=userdata, **({"llm": model, "vad": None} | options))


def build_model(settings: Providers) -> llm.RealtimeModel:
    """The model of `WORKER_REALTIME`, or a chain in which the next takes over with all that was
    said.

    :raises SettingsError: if the key is missing.
    """
    links = [_openai(settings, model) for model in settings.realtime]
    return links[0] if len(links) == 1 else llm.RealtimeModelFallbackAdapter(links)


def _openai(settings: Providers, model: Model) -> llm.RealtimeModel:
    return openai.RealtimeModel(
        model=model.model or "gpt-realtime",
        voice=model.voice or "marin",
        api_key=keys.required(settings.openai_api_key, "OPENAI_API_KEY"),
        base_url=settings.openai_url,
    )

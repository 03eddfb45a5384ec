"""A LiveKit session whose STT, LLM, TTS, VAD and turn detection are chosen by settings.

`voicefleet.build_session(ctx.proc)` is the one call by which an agent file is independent of who
provides what.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeVar

from livekit.agents import NOT_GIVEN, AgentSession, JobProcess, NotGivenOr
from livekit.agents import tts as agents_tts

from voicefleet import errors
from voicefleet.providers import llm, stt, tts, turns
from voicefleet.providers.prepared import LLM, SETTINGS, settings_of, voice_activity_of

Userdata = TypeVar("Userdata")


def prepare(process: JobProcess) -> None:
    """Build before the call what would stop its audio: the LLM's client parses the CA bundle, for
    0.04 s on an idle machine and 0.3 s on a busy one. A missing key is `build`'s to tell.
    """
    with suppress(errors.SettingsError):
        process.userdata[LLM] = llm.build(process.userdata[SETTINGS].providers)


def voice(process: JobProcess, voices: Mapping[str, str]) -> agents_tts.TTS[Any]:
    """The session's TTS with another voice, for an agent that is to sound like somebody else;
    `voices` has the voice's name at each provider.

    :raises SettingsError: if a key is missing.
    """
    return tts.build(settings_of(process).providers, voices)


def build(
    process: JobProcess, *, userdata: NotGivenOr[Userdata] = NOT_GIVEN, **options: Any
) -> AgentSession[Userdata]:
    """A session for one call; `options` go to `AgentSession` and win over what is chosen here.

    In a process that voicefleet has warmed the settings and the VAD are there already; anywhere
    else they are loaded now, so the agent file runs under LiveKit alone too.

    :raises SettingsError: if a setting or a key is missing or wrong.
    """
    settings = settings_of(process).providers
    voice_activity = voice_activity_of(process)
    chosen: dict[str, Any] = {
        "stt": stt.build(settings, voice_activity),
        # A prepared one is for one session.
        "llm": process.userdata.pop(LLM, None) or llm.build(settings),
        "tts": tts.build(settings),
        "vad": voice_activity,
        "turn_handling": turns.handling(settings),
    }
    return AgentSession(userdata=userdata, **(chosen | options))

"""A LiveKit session whose STT, LLM, TTS, VAD and turn detection are chosen by settings.

This is the one call an agent file makes to be independent of who provides what:
`session.build(ctx.proc)`.
"""

from contextlib import suppress
from typing import Any, TypeVar

from livekit.agents import NOT_GIVEN, AgentSession, JobProcess, NotGivenOr, vad

from worker import errors
from worker import settings as settings_module
from worker.providers import llm, stt, tts, turns
from worker.settings import Settings

# Where prewarm leaves what it has loaded, in LiveKit's `JobProcess.userdata`. The key for the VAD
# is the one that LiveKit's documentation uses, so that either side finds the other's.
SETTINGS = "worker.settings"
VAD = "vad"
LLM = "worker.llm"

Userdata = TypeVar("Userdata")


def prepare(process: JobProcess) -> None:
    """Build before the call what would stop its audio: the LLM's client parses the CA bundle, for
    0.04 s on an idle machine and 0.3 s on a busy one. A missing key is `build`'s to tell.
    """
    with suppress(errors.SettingsError):
        process.userdata[LLM] = llm.build(process.userdata[SETTINGS].providers)


def build(
    process: JobProcess, *, userdata: NotGivenOr[Userdata] = NOT_GIVEN, **options: Any
) -> AgentSession[Userdata]:
    """A session for one call; `options` go to `AgentSession` and win over what is chosen here.

    In a process that voicefleet has warmed the settings and the VAD are there already; anywhere
    else they are loaded now, so the agent file runs under LiveKit alone too.

    :raises SettingsError: if a setting or a key is missing or wrong.
    """
    settings = settings_of(process)
    voice_activity = voice_activity_of(process)
    chosen: dict[str, Any] = {
        "stt": stt.build(settings.providers, voice_activity),
        # A prepared one is for one session.
        "llm": process.userdata.pop(LLM, None) or llm.build(settings.providers),
        "tts": tts.build(settings.providers),
        "vad": voice_activity,
        "turn_handling": turns.handling(settings.providers),
    }
    return AgentSession(userdata=userdata, **(chosen | options))


def settings_of(process: JobProcess) -> Settings:
    """:raises SettingsError: if a setting is wrong, where none were loaded before the call."""
    return process.userdata.get(SETTINGS) or settings_module.load()


def voice_activity_of(process: JobProcess) -> vad.VAD:
    return process.userdata.get(VAD) or turns.load_vad(settings_of(process).providers)

"""A LiveKit session that only hears: the STT and the VAD of the settings, no LLM and no voice.

An agent file calls `voicefleet.build_listening_session(ctx.proc)`, and needs no other key.
"""

from livekit.agents import AgentSession, JobProcess

from voicefleet.providers import stt
from voicefleet.providers.prepared import settings_of, voice_activity_of

# How long a recogniser has for what was said right before the end.
LAST_WORDS_WITHIN_SECONDS = 4.0


def build(process: JobProcess) -> AgentSession[None]:
    """A session for one speaker, whose turns nobody answers: the cheapest detection will do.

    :raises SettingsError: if a setting or the recogniser's key is missing or wrong.
    """
    voice_activity = voice_activity_of(process)
    return AgentSession(
        stt=stt.build(settings_of(process).providers, voice_activity),
        vad=voice_activity,
        turn_handling={"turn_detection": "vad"},
        user_away_timeout=None,
        session_close_transcript_timeout=LAST_WORDS_WITHIN_SECONDS,
    )

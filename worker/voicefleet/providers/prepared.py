"""What prewarm has loaded for a call: where it leaves it, and how a session finds it.

The keys are those of LiveKit's `JobProcess.userdata`. In a process that voicefleet did not warm
(LiveKit alone, a test) nothing is there, and it is loaded now.
"""

from livekit.agents import JobProcess, vad

from voicefleet import settings as settings_module
from voicefleet.providers import turns
from voicefleet.settings import Settings

SETTINGS = "voicefleet.settings"
# The one that LiveKit's documentation uses, so that either side finds the other's.
VAD = "vad"
LLM = "voicefleet.llm"


def settings_of(process: JobProcess) -> Settings:
    """The settings of this process: those that voicefleet has left there, or read now.

    :raises SettingsError: if one is wrong.
    """
    known: Settings = process.userdata.get(SETTINGS) or settings_module.load()
    return known


def voice_activity_of(process: JobProcess) -> vad.VAD:
    """The VAD of the settings."""
    return process.userdata.get(VAD) or turns.load_vad(settings_of(process).providers)

"""What is loaded once in the forkserver and shared by every job, copy on write.

LiveKit imports this module there (`AgentServer(preload_modules=…)`). Only what survives a fork may
stand here: no thread, no event loop, no open connection.
"""

from functools import cache
from importlib import import_module

from livekit.agents import vad as livekit_vad

from worker import errors
from worker import settings as settings_module
from worker.providers import turns
from worker.setting_groups import Providers

# Imported on first use, inside the first call, where each would stop that call's audio for a tenth
# of a second: every plugin, and what the OpenAI client needs to open its first connection.
MODULES = ("worker.providers.session", "anyio._backends._asyncio")


@cache
def vad(settings: Providers) -> livekit_vad.VAD:
    """The VAD of these settings; the one that the forkserver loaded, if they are the same.

    Silero's session runs on the caller's thread (one intra-op thread, livekit-plugins-silero
    1.8.9, onnx_model.py), which is why it may be loaded before a fork.
    """
    return turns.load_vad(settings)


def run() -> None:
    """Load what every job will want. A failure is left for prewarm to report, in the job."""
    for name in MODULES:
        import_module(name)
    try:
        vad(settings_module.load().providers)
    except errors.VoicefleetError:
        return


run()

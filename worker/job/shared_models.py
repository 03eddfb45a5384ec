"""The models that every call shares: loaded once, before the fork."""

from functools import cache

from livekit.agents import vad as livekit_vad

from worker.providers import turns
from worker.setting_groups import Providers


@cache
def vad(settings: Providers) -> livekit_vad.VAD:
    """The VAD of these settings; the one that the forkserver loaded, if they are the same.

    Silero's session runs on the caller's thread (one intra-op thread, livekit-plugins-silero
    1.8.9, onnx_model.py), which is why it may be loaded before a fork.
    """
    return turns.load_vad(settings)

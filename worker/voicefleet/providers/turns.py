"""Whose turn it is: voice activity (VAD) and the end of the caller's turn.

LiveKit's own models run from its wheel; `english` and `multilingual` are those of the turn-detector
plugin, which run in one inference process per pod and whose weights must be on disk.
"""

from typing import Final

from livekit.agents import inference, vad
from livekit.agents.voice.turn import EndpointingOptions, TurnDetectionMode, TurnHandlingOptions

from voicefleet.livekit_compat import inference as livekit_inference
from voicefleet.settings.providers import Providers

# The detectors of the turn-detector plugin, by their names in `VOICEFLEET_TURN_DETECTION`.
PLUGIN_DETECTORS = livekit_inference.PLUGIN_DETECTORS

# The version of LiveKit's turn detector that runs in this process; the unnamed default asks
# LiveKit Cloud when LIVEKIT_DEV_MODE is set (livekit-agents 1.8.9, inference/eot/detector.py).
LOCAL_TURN_DETECTOR: Final = "v1-mini"


def load_vad(settings: Providers) -> vad.VAD:
    """The VAD of `VOICEFLEET_VAD`. Loading is slow only the first time in a process tree."""
    if settings.vad == "silero":
        from livekit.plugins import silero

        return silero.VAD.load()
    return inference.VAD()


def register(settings: Providers) -> None:
    """Import the turn-detector plugin if it is chosen, so that the pod starts its inference
    process. Must run in the parent's main thread before the worker starts.
    """
    if settings.turn_detection in PLUGIN_DETECTORS:
        livekit_inference.import_plugin()


def runner(kind: str) -> livekit_inference.Runner:
    """What runs the plugin's model, as the inference process makes it; not yet initialised."""
    return livekit_inference.runner(kind)


def missing_weights() -> list[str]:
    """The files of the plugin that are not in the model hub's cache. Those of both detectors are
    needed, because the inference process loads both.
    """
    from huggingface_hub import try_to_load_from_cache

    return [
        f"{file.repository}@{file.revision}/{file.name}"
        for file in livekit_inference.weights()
        if not isinstance(
            try_to_load_from_cache(file.repository, file.name, revision=file.revision), str
        )
    ]


def detection(settings: Providers) -> TurnDetectionMode:
    """How the session decides that the caller has finished. Call it inside a job."""
    match settings.turn_detection:
        case "vad" | "stt" as mode:
            return mode
        case "livekit":
            return inference.TurnDetector(version=LOCAL_TURN_DETECTOR)
        case plugin:
            return livekit_inference.detector(plugin)


def handling(settings: Providers) -> TurnHandlingOptions:
    """How turns are taken, for `AgentSession(turn_handling=…)`. Call it inside a job."""
    delays: EndpointingOptions = {}
    if settings.turn_min_delay_seconds is not None:
        delays["min_delay"] = settings.turn_min_delay_seconds
    if settings.turn_max_delay_seconds is not None:
        delays["max_delay"] = settings.turn_max_delay_seconds
    return {
        "turn_detection": detection(settings),
        "endpointing": delays,
        # The adaptive mode asks LiveKit Cloud; this one works everywhere.
        "interruption": {"mode": "vad"},
    }

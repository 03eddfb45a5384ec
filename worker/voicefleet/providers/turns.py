"""Whose turn it is: voice activity (VAD) and the end of the caller's turn.

LiveKit's own models run from its wheel; `english` and `multilingual` are those of the turn-detector
plugin, which run in one inference process per pod and whose weights must be on disk.
"""

import warnings
from importlib import import_module
from typing import Any, Final

from livekit.agents import inference, vad
from livekit.agents.inference_runner import _InferenceRunner
from livekit.agents.voice.turn import EndpointingOptions, TurnDetectionMode, TurnHandlingOptions

from voicefleet.settings.providers import Providers

# The version of LiveKit's turn detector that runs in this process; the unnamed default asks
# LiveKit Cloud when LIVEKIT_DEV_MODE is set (livekit-agents 1.8.9, inference/eot/detector.py).
LOCAL_TURN_DETECTOR: Final = "v1-mini"

# The plugin's two detectors; its package registers the runners of both when it is imported.
PLUGIN_DETECTORS = {
    "english": ("livekit.plugins.turn_detector.english", "EnglishModel"),
    "multilingual": ("livekit.plugins.turn_detector.multilingual", "MultilingualModel"),
}


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
        _import_plugin(PLUGIN_DETECTORS[settings.turn_detection][0])


def runner(kind: str) -> _InferenceRunner:
    """What runs the plugin's model, as the inference process makes it; not yet initialised."""
    module, _ = PLUGIN_DETECTORS[kind]
    _import_plugin(module)
    method = {
        "english": "lk_end_of_utterance_en",
        "multilingual": "lk_end_of_utterance_multilingual",
    }
    return _InferenceRunner.registered_runners[method[kind]]()


def missing_weights() -> list[str]:
    """The files of the plugin that are not in the model hub's cache. Those of both detectors are
    needed, because the inference process loads both.
    """
    from huggingface_hub import try_to_load_from_cache

    models = _import_plugin("livekit.plugins.turn_detector.models")
    files = (f"onnx/{models.ONNX_FILENAME}", "languages.json", "tokenizer.json")
    return [
        f"{models.HG_MODEL}@{revision}/{name}"
        for revision in models.MODEL_REVISIONS.values()
        for name in files
        if not isinstance(try_to_load_from_cache(models.HG_MODEL, name, revision=revision), str)
    ]


def detection(settings: Providers) -> TurnDetectionMode:
    """How the session decides that the caller has finished. Call it inside a job."""
    match settings.turn_detection:
        case "vad" | "stt" as mode:
            return mode
        case "livekit":
            return inference.TurnDetector(version=LOCAL_TURN_DETECTOR)
        case plugin:
            module, name = PLUGIN_DETECTORS[plugin]
            detector: TurnDetectionMode = getattr(_import_plugin(module), name)()
            return detector


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


def _import_plugin(module: str) -> Any:
    # The plugin warns that it is deprecated on every import; whoever sets it has chosen it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return import_module(module)

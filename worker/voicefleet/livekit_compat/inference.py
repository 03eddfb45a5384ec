"""LiveKit's inference process, and the turn-detector plugin whose models run in it.

A worker starts that process if any runner is registered when it starts, and loads every one that is
(`_InferenceRunner`, livekit-agents 1.8.9, inference_runner.py, which LiveKit keeps private "until
we stabilize the API"). The plugin's files are those that its own runner asks for
(livekit-plugins-turn-detector 1.8.9, base.py).
"""

import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

from livekit.agents.inference_runner import _InferenceRunner
from livekit.agents.voice.turn import TurnDetectionMode

Runner = _InferenceRunner

PLUGIN = "livekit.plugins.turn_detector"


class Detector(NamedTuple):
    """One of the plugin's detectors: its module and class, and the name of what runs its model."""

    module: str
    model: str
    method: str


PLUGIN_DETECTORS = {
    "english": Detector(f"{PLUGIN}.english", "EnglishModel", "lk_end_of_utterance_en"),
    "multilingual": Detector(
        f"{PLUGIN}.multilingual", "MultilingualModel", "lk_end_of_utterance_multilingual"
    ),
}


class File(NamedTuple):
    """A file in the model hub."""

    repository: str
    revision: str
    name: str


def import_plugin(module: str = PLUGIN) -> Any:
    """Import the plugin, or a module of it, which registers the runners of both its detectors: a
    worker that starts later starts its inference process. Only on the main thread.
    """
    # It warns that it is deprecated on every import; whoever sets it has chosen it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return import_module(module)


def runner(kind: str) -> Runner:
    """What runs the model of this detector, as the inference process makes it; not initialised."""
    chosen = PLUGIN_DETECTORS[kind]
    import_plugin(chosen.module)
    return Runner.registered_runners[chosen.method]()


def detector(kind: str) -> TurnDetectionMode:
    """The detector, for a session. Call it inside a job."""
    chosen = PLUGIN_DETECTORS[kind]
    made: TurnDetectionMode = getattr(import_plugin(chosen.module), chosen.model)()
    return made


def weights() -> Iterator[File]:
    """The files that the runners of both detectors load."""
    models = import_plugin(f"{PLUGIN}.models")
    for revision in models.MODEL_REVISIONS.values():
        for name in (f"onnx/{models.ONNX_FILENAME}", "languages.json", "tokenizer.json"):
            yield File(models.HG_MODEL, revision, name)

"""The model files that the settings ask for: fetched into an image, and seen to load."""

import warnings
from collections.abc import Callable, Iterator

from livekit import local_inference
from livekit.agents import Plugin

from voicefleet import errors
from voicefleet.providers import turns
from voicefleet.settings.providers import Providers

FETCH = "voicefleet models, where the model hub can be reached, as the image's build does"


def checks(settings: Providers) -> Iterator[tuple[str, Callable[[], object]]]:
    """What must load for these settings: a name to show, and a function that loads it."""
    yield f"VAD ({settings.vad})", lambda: turns.load_vad(settings)
    if settings.turn_detection == "livekit":
        yield "turn detector (livekit)", local_inference.init_eot
    if settings.turn_detection in turns.PLUGIN_DETECTORS:
        kind = settings.turn_detection
        yield f"turn detector ({kind})", turns.runner(kind).initialize


def require(settings: Providers) -> None:
    """See that the weights are on disk, without loading them; LiveKit would only log that they are
    not, and every turn would end by its longest pause.

    :raises ModelsError: naming what is missing.
    """
    if settings.turn_detection in turns.PLUGIN_DETECTORS:
        require_plugin()


def require_plugin() -> None:
    """As `require`, where an agent file makes a detector of the plugin by itself.

    :raises ModelsError: naming what is missing.
    """
    missing = turns.missing_weights()
    if missing:
        raise errors.ModelsError(
            f"the turn-detector plugin has no {', '.join(missing)} on this machine",
            fix=f"run VOICEFLEET_TURN_DETECTION=multilingual {FETCH}",
        )


def load(name: str, loader: Callable[[], object]) -> None:
    """:raises ModelsError: if it does not load."""
    try:
        loader()
    except Exception as error:
        raise errors.ModelsError(
            f"the {name} does not load: {error}", fix=f"run {FETCH}"
        ) from error


def fetch(settings: Providers) -> Iterator[str]:
    """Download what the chosen plugins keep outside their wheels; yields a line for each.

    :raises ModelsError: if the hub cannot be reached or has not got it.
    """
    turns.register(settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for plugin in Plugin.registered_plugins:
            if "turn_detector" not in plugin.package:
                continue
            yield f"fetching {plugin.package}"
            try:
                plugin.download_files()
            except Exception as error:
                raise errors.ModelsError(
                    f"{plugin.package} cannot be fetched: {error}",
                    fix="run it where the model hub can be reached, and keep HF_HOME in the image",
                ) from error

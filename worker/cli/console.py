"""`console`: talk with the agent in this terminal, by LiveKit's own console."""

import sys
import warnings
from importlib import import_module
from typing import Annotated

import typer
from livekit.agents import cli as livekit_cli

from worker import errors
from worker import settings as settings_module
from worker.job import agent_file
from worker.providers import keys
from worker.server import wiring


def console(
    text: Annotated[bool, typer.Option(help="Type instead of talking.")] = False,
    record: Annotated[bool, typer.Option(help="Keep a recording of the session.")] = False,
) -> None:
    """Talk with the agent in this terminal, by microphone or by text.

    LiveKit's console opens the sound system even for text.
    """
    _require_sound()
    settings = settings_module.for_development(settings_module.load())
    hosted = agent_file.load(settings.agent.file)
    if hosted.uses_our_providers:
        settings.require(*keys.needed(settings.providers, hosted.parts))
    server = wiring.build(settings, hosted).server
    options = [*(["--text"] if text else []), *(["--record"] if record else [])]
    sys.argv = ["python -m worker", "console", *options]
    # LiveKit announces that its Python console will move to another program.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        livekit_cli.run_app(server)


def _require_sound() -> None:
    try:
        import_module("sounddevice")
    except OSError as error:
        raise errors.ToolError(
            f"LiveKit's console needs PortAudio, and it is not on this machine: {error}",
            fix="apt-get install libportaudio2, or brew install portaudio",
        ) from error

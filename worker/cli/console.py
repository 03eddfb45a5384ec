"""`console`: talk with the agent in this terminal, by LiveKit's own console."""

import sys
import warnings
from typing import Annotated

import typer
from livekit.agents import cli as livekit_cli

from worker import settings as settings_module
from worker.job import agent_file
from worker.providers import keys
from worker.server import wiring


def console(
    text: Annotated[bool, typer.Option(help="Type instead of talking.")] = False,
    record: Annotated[bool, typer.Option(help="Keep a recording of the session.")] = False,
) -> None:
    """Talk with the agent in this terminal, by microphone or by text."""
    settings = settings_module.for_development(settings_module.load())
    hosted = agent_file.load(settings.agent.file)
    if hosted.uses_our_providers:
        settings.require(*keys.needed(settings.providers))
    server = wiring.build(settings, hosted)
    options = [*(["--text"] if text else []), *(["--record"] if record else [])]
    sys.argv = ["python -m worker", "console", *options]
    # LiveKit announces that its Python console will move to another program.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        livekit_cli.run_app(server)

"""`models`: fetch the model files that an image must contain, and load each once."""

from typing import Annotated

import typer

from voicefleet import settings as settings_module
from voicefleet.providers import model_files


def models(
    verify: Annotated[bool, typer.Option("--verify", help="Fetch nothing; only load.")] = False,
) -> None:
    """Fetch the model files that the settings ask for, then load each once."""
    providers = settings_module.load().providers
    if not verify:
        for line in model_files.fetch(providers):
            print(line, flush=True)
    for name, loader in model_files.checks(providers):
        model_files.load(name, loader)
        print(f"ok    {name}", flush=True)

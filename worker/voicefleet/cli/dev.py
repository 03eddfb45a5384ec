"""`dev`: run the worker while you write the agent, restarted at each change of a file."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
import watchfiles

from voicefleet import settings as settings_module
from voicefleet.cli import start

SECONDS_TO_STOP = 10


def dev(
    reload: Annotated[
        bool, typer.Option(help="Restart when a Python or Markdown file changes.")
    ] = True,
    path: Annotated[Path, typer.Option(help="The folder to watch.")] = Path(),
) -> None:
    """Serve calls as LiveKit's dev mode does: no load limit, no drain, readable logs."""
    if reload:
        command = shlex.join([sys.executable, "-m", "voicefleet", "dev", "--no-reload"])
        watchfiles.run_process(
            path,
            target=command,
            target_type="command",
            watch_filter=watchfiles.DefaultFilter(),
            sigint_timeout=SECONDS_TO_STOP,
        )
        return
    settings = settings_module.load()
    start.serve(settings_module.for_development(settings), devmode=True)

"""`dev`: serve calls while you write the agent, and restart when a file changes."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
import watchfiles

from voicefleet import settings as settings_module
from voicefleet.cli import start

STOP_WITHIN_SECONDS = 10


def dev(
    reload: Annotated[bool, typer.Option(help="Restart when a file changes.")] = True,
    path: Annotated[Path, typer.Option(help="The folder to watch.")] = Path(),
) -> None:
    """Serve calls while you write the agent: four slots, readable logs, a free port, and no drain.

    Only the slots limit the calls: the CPU and memory of this machine do not count.
    """
    if reload:
        command = shlex.join([sys.executable, "-m", "voicefleet", "dev", "--no-reload"])
        watchfiles.run_process(
            path,
            target=command,
            target_type="command",
            watch_filter=watchfiles.DefaultFilter(),
            sigint_timeout=STOP_WITHIN_SECONDS,
        )
        return
    settings = settings_module.load()
    start.serve(settings_module.for_development(settings), devmode=True)

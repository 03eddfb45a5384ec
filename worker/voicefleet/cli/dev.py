"""`dev`: serve calls while you write the agent, and restart when a file changes."""

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
import watchfiles

from voicefleet import settings as settings_module
from voicefleet.cli import start

STOP_WITHIN_SECONDS = 10

# What an agent is made of. Its logs, recordings and databases change by themselves.
SOURCES = (".py", ".toml", ".yaml", ".yml", ".md", ".txt")
SETTINGS = (".env", ".env.local")


class Sources(watchfiles.DefaultFilter):
    """Changes of what an agent file is made of."""

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        is_source = path.endswith(SOURCES) or Path(path).name in SETTINGS
        return is_source and super().__call__(change, path)


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
            watch_filter=Sources(),
            callback=_tell,
            sigint_timeout=STOP_WITHIN_SECONDS,
        )
        return
    settings = settings_module.load()
    start.serve(settings_module.for_development(settings), devmode=True)


def _tell(changes: Iterable[tuple[watchfiles.Change, str]]) -> None:
    names = sorted({Path(path).name for _, path in changes})
    print(f"restarting: {', '.join(names)} changed", flush=True)

"""`compare`: run the same drills against LiveKit's own worker and ours, and print one table."""

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import psutil
import typer

from voicefleet import errors
from voicefleet import settings as settings_module
from voicefleet.cli import signals
from voicefleet.errors import ExitCode
from voicefleet.lab import livekit_server
from voicefleet.lab.compare import running as drills
from voicefleet.lab.compare import stage, table
from voicefleet.lab.compare.outcome import Drill
from voicefleet.pod import slots

# A pod of the comparison's two slots, as an operator would size it.
POD_MEMORY_BYTES = 2 * 1024**3


def compare(
    only: Annotated[
        list[str] | None, typer.Option(help="A drill by its name; repeatable. Default: all.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="A document; its table, between markers, is replaced.")
    ] = None,
) -> int:
    """Run every drill with a stock worker and with ours on this machine, and print the results.

    This is a comparison, not a test: the figures are of this machine and this moment.
    """
    chosen = drills.chosen(only or [])
    if write is not None:
        if only:
            raise errors.UsageError("--write needs the whole table", fix="leave out --only")
        # Fails now if the document has no place for the table, not after a quarter of an hour.
        table.filled(table.read(write), "", str(write))
    binary = settings_module.load().lab.livekit_server_bin
    return signals.run(_compare(chosen, binary, write))


async def _compare(chosen: tuple[Drill, ...], binary: Path | None, write: Path | None) -> int:
    # The native client logs every connection that the drills cut.
    logging.getLogger("livekit").setLevel(logging.CRITICAL)
    server = await livekit_server.obtain(binary=binary, progress=_say)
    async with stage.world(server, call_memory_limit_bytes()) as world:
        results = await drills.run(world, chosen, _say)
    below = conditions(world.busy_ratios, await livekit_server.version_of(server))
    text = f"{table.markdown(chosen, results)}\n\n{below}"
    _say(f"\n{text}")
    if write is not None:
        table.write(write, text)
    return ExitCode.OK


def call_memory_limit_bytes() -> int:
    """The limit that our worker derives by itself in a pod of this size.

    :raises ToolError: if it derives none.
    """
    limit = slots.call_memory_limit_bytes(POD_MEMORY_BYTES, stage.SLOTS)
    if limit is None:
        raise errors.ToolError(
            "a pod of the comparison is too small for a memory limit of its calls",
            fix="raise POD_MEMORY_BYTES in worker/voicefleet/cli/compare.py",
        )
    return limit


def conditions(busy_ratios: Sequence[float], server_version: str) -> str:
    """The sentences below the table: versions, machine and settings."""
    limit = _limit_in_words()
    busy = max(busy_ratios, default=0.0)
    return (
        f"livekit-agents {version('livekit-agents')} and livekit-server {server_version},"
        f" {psutil.cpu_count()} cores. The same agent file for both. Stock is"
        " `python -m livekit.agents start` with LiveKit's defaults; voicefleet is"
        f" `voicefleet start` with {stage.SLOTS} slots and, in `leak`, {limit}. Figures are"
        " medians, with the least and the most where there are several. Before a drill the"
        f" machine was at most {busy:.0%} busy with other things."
    )


def _limit_in_words() -> str:
    mib = 1024**2
    return (
        f"the limit of {call_memory_limit_bytes() / mib:.0f} MiB a call that it derives in a pod of"
        f" {POD_MEMORY_BYTES / mib:.0f} MiB"
    )


def _say(line: str) -> None:
    print(line, flush=True)

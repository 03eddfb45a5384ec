"""`compare`: the same drills against LiveKit's own worker and ours, as one table."""

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
        list[str] | None, typer.Option(help="A drill of the table by its name; repeatable.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Also put the table between a document's markers.")
    ] = None,
) -> int:
    """Hold every drill with a stock worker and with ours on this machine, and print what was seen.

    A comparison, not a test: the figures are this machine's, now.
    """
    held = drills.chosen(only or [])
    if write is not None:
        if only:
            raise errors.UsageError("a part of the table is not written", fix="leave out --only")
        # A document without a place for the table is said now, not after a quarter of an hour.
        table.filled(table.read(write), "", str(write))
    binary = settings_module.load().lab.livekit_server_bin
    return signals.run(_compare(held, binary, write))


async def _compare(held: tuple[Drill, ...], binary: Path | None, write: Path | None) -> int:
    # The native client's own account of connections that the drills cut.
    logging.getLogger("livekit").setLevel(logging.CRITICAL)
    server = await livekit_server.obtain(binary=binary, progress=_say)
    async with stage.world(server, call_memory_limit_bytes()) as world:
        results = await drills.run(world, held, _say)
    text = f"{table.markdown(held, results)}\n\n{conditions(world.busy_ratios)}"
    _say(f"\n{text}")
    if write is not None:
        table.write(write, text)
    return ExitCode.OK


def call_memory_limit_bytes() -> int:
    """What our worker would derive by itself in a pod of this size.

    :raises ToolError: if it would derive none.
    """
    limit = slots.call_memory_limit_bytes(POD_MEMORY_BYTES, stage.SLOTS)
    if limit is None:
        raise errors.ToolError(
            "a pod of the comparison is too small for a memory limit of its calls",
            fix="raise POD_MEMORY_BYTES in worker/voicefleet/cli/compare.py",
        )
    return limit


def conditions(busy_ratios: Sequence[float]) -> str:
    """What the table was measured on, and with which settings."""
    limit = _limit_in_words()
    busy = max(busy_ratios, default=0.0)
    return (
        f"livekit-agents {version('livekit-agents')} and livekit-server {livekit_server.VERSION},"
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

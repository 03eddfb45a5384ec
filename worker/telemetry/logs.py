"""How log records leave the process: JSON lines for machines, readable ones for a terminal.

Jobs send their records to the parent (livekit-agents 1.8.9, ipc/log_queue.py), so one set-up here
serves both.
"""

import sys

from livekit.agents.cli.log import setup_logging

from worker.setting_groups import Logs


def configure(logs: Logs) -> None:
    """Send every record at or above the level to standard output, in the chosen format."""
    is_text = sys.stdout.isatty() if logs.format is None else logs.format == "text"
    setup_logging(logs.level, devmode=is_text, console=False)

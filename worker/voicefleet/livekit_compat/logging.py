"""LiveKit's format of the log: JSON or text, on standard output; coloured at a terminal.

`livekit.agents.cli.log` is not part of LiveKit's documented API (livekit-agents 1.8.9).
"""

import logging
import re
import sys

from livekit.agents.cli.log import setup_logging

# Beside LiveKit's own list of noisy libraries: it tells of its selector in each process.
NOISY = "asyncio"

# Of every process of a pod, as it begins: two lines for each slot before the first call, and two
# for each call.
ROUTINE = ("initializing process", "process initialized")

COLOUR = re.compile(r"\x1b\[[\d;]*m")


def add_handler(level: str, *, is_text: bool) -> list[logging.Handler]:
    """Have LiveKit add its handler to the root logger, and return what it added. It also sets the
    levels: this one for the root, LiveKit and its plugins, WARNING for noisy libraries.
    """
    if logging.getLogger(NOISY).level == logging.NOTSET:
        logging.getLogger(NOISY).setLevel(logging.INFO)
    root = logging.getLogger()
    before = list(root.handlers)
    setup_logging(level, devmode=is_text, console=False)
    added = [handler for handler in root.handlers if handler not in before]
    if not root.isEnabledFor(logging.DEBUG):
        for handler in added:
            handler.addFilter(_is_no_routine)
    # What is no terminal shows the codes of colours as they are.
    if is_text and not sys.stdout.isatty():
        for handler in added:
            handler.setFormatter(_WithoutColour(handler.formatter))
    return added


def _is_no_routine(record: logging.LogRecord) -> bool:
    return record.msg not in ROUTINE


class _WithoutColour(logging.Formatter):
    def __init__(self, coloured: logging.Formatter | None) -> None:
        super().__init__()
        self._coloured = coloured or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return COLOUR.sub("", self._coloured.format(record))

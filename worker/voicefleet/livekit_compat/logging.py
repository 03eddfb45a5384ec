"""LiveKit's format of the log: JSON, or coloured text, on standard output.

`livekit.agents.cli.log` is not part of LiveKit's documented API (livekit-agents 1.8.9).
"""

import logging

from livekit.agents.cli.log import setup_logging


def add_handler(level: str, *, is_text: bool) -> list[logging.Handler]:
    """Have LiveKit add its handler to the root logger, and return what it added. It also sets the
    levels: this one for the root, LiveKit and its plugins, WARNING for noisy libraries.
    """
    root = logging.getLogger()
    before = list(root.handlers)
    setup_logging(level, devmode=is_text, console=False)
    return [handler for handler in root.handlers if handler not in before]

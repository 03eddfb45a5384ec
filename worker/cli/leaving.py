"""Until there is a pod to drain, told to stop means gone."""

import contextlib
import os
import signal
import sys
from typing import NoReturn


def when_told() -> None:
    """Let a SIGTERM end this process with 0, whatever it is doing.

    To be called before LiveKit's framework is imported, which takes seconds: process 1 of a
    container does not even hear a SIGTERM for which it has no handler, would start, and would take
    calls until it is killed with them.
    """
    signal.signal(signal.SIGTERM, _leave)


def _leave(*_: object) -> NoReturn:
    # An exception would be an error of whatever is being imported.
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)

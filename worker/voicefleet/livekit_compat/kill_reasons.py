"""Why LiveKit killed a process, as it says itself, in its log and nowhere else.

livekit-agents 1.8.9, ipc/supervised_proc.py: a process past its memory limit, and one whose event
loop has not turned for 60 s, are killed by the parent; the kernel only says SIGKILL. The drills in
`tests/promises/test_isolation.py` fail where an update of LiveKit changes the first two.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from voicefleet.telemetry.messages import Cause

LIVEKIT_LOGGER = "livekit.agents"

WORDS: dict[str, Cause] = {
    "process exceeded memory limit, killing it": Cause.MEMORY,
    "process is unresponsive, killing process": Cause.UNRESPONSIVE,
    "process did not ack shutdown in time, killing process": Cause.UNRESPONSIVE,
    "process did not exit in time, killing process": Cause.UNRESPONSIVE,
}


class KillReasons(logging.Filter):
    """Remembers the cause of each death until it is asked for. From any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._causes: dict[int, Cause] = {}
        self._shown_from = logging.NOTSET

    def filter(self, record: logging.LogRecord) -> bool:
        """Look at a record of LiveKit's parent, and let it pass unless its level is not wanted."""
        pid = getattr(record, "pid", None)
        if record.levelno >= logging.ERROR and isinstance(pid, int):
            for words, cause in WORDS.items():
                if str(record.msg).endswith(words):
                    self._causes[pid] = cause
        return record.levelno >= self._shown_from

    def cause_of(self, pid: int) -> Cause | None:
        """Why this process was killed, or None if LiveKit did not; it is forgotten then."""
        return self._causes.pop(pid, None)

    @contextmanager
    def listening(self) -> Iterator[None]:
        livekit = logging.getLogger(LIVEKIT_LOGGER)
        level, self._shown_from = livekit.level, livekit.getEffectiveLevel()
        livekit.addFilter(self)
        # Where only what is critical is wanted, its errors must still come this far.
        livekit.setLevel(min(self._shown_from, logging.ERROR))
        try:
            yield
        finally:
            livekit.setLevel(level)
            livekit.removeFilter(self)

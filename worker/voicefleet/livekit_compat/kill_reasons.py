"""Why LiveKit killed a job process, as it says in its log and nowhere else.

livekit-agents 1.8.9, ipc/supervised_proc.py: a process past its memory limit, and one whose event
loop has not turned for 60 s, are killed by the parent, and one whose shutdown callbacks take longer
than they may; the kernel only says SIGKILL.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

LIVEKIT_LOGGER = "livekit.agents"


class KillReason(StrEnum):
    MEMORY = "memory"
    UNRESPONSIVE = "unresponsive"
    END_CUT_OFF = "end_cut_off"


# How LiveKit's sentences end.
SENTENCES: dict[str, KillReason] = {
    "process exceeded memory limit, killing it": KillReason.MEMORY,
    "process is unresponsive, killing process": KillReason.UNRESPONSIVE,
    "process did not ack shutdown in time, killing process": KillReason.UNRESPONSIVE,
    "process did not exit in time, killing process": KillReason.END_CUT_OFF,
}


class KillReasons(logging.Filter):
    """Remembers the reason of each kill until it is asked for. From any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._reasons: dict[int, KillReason] = {}
        self._shown_from = logging.NOTSET

    def filter(self, record: logging.LogRecord) -> bool:
        """Look at a record of LiveKit's parent, and let it pass unless its level is not wanted."""
        pid = getattr(record, "pid", None)
        if record.levelno >= logging.ERROR and isinstance(pid, int):
            for sentence, reason in SENTENCES.items():
                if str(record.msg).endswith(sentence):
                    self._reasons[pid] = reason
        return record.levelno >= self._shown_from

    def pop(self, pid: int | None) -> KillReason | None:
        """Why this process was killed, or None if LiveKit did not; it is forgotten then."""
        return self._reasons.pop(pid, None) if pid is not None else None

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

"""What the cases measured, a row each: printed when all have run."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.heard import Heard

HEADINGS = ("case", "calls", "lost", "longest silence", "pods", "seen")
FOLDER = "CLUSTER_MEASURED"
"""The environment's name of the folder that table and picture are written to, if any."""


@dataclass(frozen=True, slots=True)
class Row:
    """`calls` are those that were to be kept. What a case cost on purpose is told in `seen`."""

    case: str
    calls: Sequence[Heard]
    pods: str
    seen: str

    @property
    def lost(self) -> int:
        return sum(call.is_lost or call.is_refused for call in self.calls)

    @property
    def cells(self) -> tuple[str, ...]:
        silence = max((call.longest_silence_seconds for call in self.calls), default=None)
        heard = "" if silence is None else f"{silence:.1f} s"
        counts = (str(len(self.calls)), str(self.lost)) if self.calls else ("", "")
        return (self.case, *counts, heard, self.pods, self.seen)


@dataclass(slots=True)
class Figures:
    rows: list[Row] = field(default_factory=list)
    closing: str = ""
    most_memory_bytes: int = 0

    def markdown(self) -> str:
        lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells for row in self.rows)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def folder() -> Path | None:
    named = os.environ.get(FOLDER)
    return Path(named) if named else None

"""What is known of each pod at one moment, and what they are together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import aiohttp

CHUNK_BYTES = 64 * 1024


async def read(response: aiohttp.ClientResponse, longest_bytes: int) -> bytes:
    """:raises ValueError: if there is more of it."""
    body = b""
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        body += chunk
        if len(body) > longest_bytes:
            raise ValueError("its answer does not end")
    return body


Phase = Literal["starting", "ready", "draining", "stopped"]
PHASES: tuple[Phase, ...] = get_args(Phase)

SILENT = "silent"
LONGEST_WORDS = 200


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as it says it is. One that did not say has a `problem`, and nothing else.

    `finishing` are calls whose caller has left, beside those in `calls`. `drain_seconds_left` is
    until its calls hear a farewell; None where it does not drain.
    """

    name: str
    phase: Phase | None = None
    calls: int = 0
    slots: int = 0
    finishing: int = 0
    oldest_call_seconds: float | None = None
    drain_seconds_left: float | None = None
    problem: str = ""

    @property
    def is_silent(self) -> bool:
        return self.phase is None


@dataclass(frozen=True, slots=True)
class Totals:
    """`free_slots` are those of ready pods: a pod that starts or drains takes no call."""

    pods: dict[str, int]
    calls: int
    free_slots: int


def totals(pods: Sequence[Pod]) -> Totals:
    """What the pods are together; silent ones count as such."""
    by_phase = Counter(pod.phase or SILENT for pod in pods)
    free = sum(max(0, pod.slots - pod.calls) for pod in pods if pod.phase == "ready")
    names = (*PHASES, SILENT)
    return Totals({name: by_phase[name] for name in names}, sum(pod.calls for pod in pods), free)


def printable(text: str) -> str:
    """A stranger's words in one line, without what a terminal would obey."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST_WORDS else line[: LONGEST_WORDS - 1] + "…"

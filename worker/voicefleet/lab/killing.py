"""Kills the process of a call while it is on, as the kernel or a bug of native code would."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from voicefleet.lab import cost
from voicefleet.lab.timeline import Event, EventKind, Timeline


def process_of_the_call(worker_pid: int, livekit_url: str) -> psutil.Process | None:
    """The newest of the worker's processes that have a call; None without one."""
    found = cost.call_processes(worker_pid, livekit_url)
    return max(found, key=psutil.Process.create_time, default=None)


@dataclass(slots=True)
class Killing:
    """Kills the process of the call, some seconds after the nth event of a kind that this is told:
    `place_call(on_event=…)`. `told` is told of it, with the seconds since the dispatch.
    `at_unix_seconds` is None until then.
    """

    worker_pid: int
    livekit_url: str
    kind: EventKind
    number: int
    after_seconds: float
    told: Callable[[float], None] = lambda _: None
    at_unix_seconds: float | None = None
    _seen: int = field(default=0, init=False)
    _dispatched_at: float = field(default=0.0, init=False)

    def __call__(self, event: Event) -> None:
        if event.kind is EventKind.DISPATCHED:
            self._dispatched_at = asyncio.get_running_loop().time() - event.at_seconds
        if event.kind is self.kind:
            self._seen += 1
            if self._seen == self.number:
                asyncio.get_running_loop().call_later(self.after_seconds, self._kill)

    def _kill(self) -> None:
        if (process := process_of_the_call(self.worker_pid, self.livekit_url)) is not None:
            process.kill()
            self.at_unix_seconds = time.time()
            self.told(asyncio.get_running_loop().time() - self._dispatched_at)

    def silence_seconds(self, timeline: Timeline) -> float | None:
        """From the death until the agent began to speak anew; None if it did not, or lives."""
        if self.at_unix_seconds is None:
            return None
        return timeline.silence_after(self.at_unix_seconds - timeline.dispatched_at_unix_seconds)

"""The pod's end of the line to its job processes: who is warm, who has a call, who has died.

Each process connects once, before it loads its models, and stays connected until it ends; so the
end of a connection is the end of a process, however it came. What arrives is checked as if a
stranger had sent it: agent code runs in those processes.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from voicefleet.livekit_compat.kill_reasons import KillReasons
from voicefleet.pod.calls import Call, PodState
from voicefleet.telemetry import messages
from voicefleet.telemetry.messages import (
    OUTCOMES,
    CallEnded,
    CallEnding,
    CallStarted,
    Cause,
    EndCall,
    Fact,
    Order,
    Outcome,
    PrewarmFailed,
    Proceed,
    Warm,
    Warming,
)

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Process:
    """One job process. `began_at` is when its call began, on the monotonic clock."""

    writer: asyncio.StreamWriter
    pid: int
    is_warm: bool = False
    job_id: str | None = None
    room_id: str = ""
    began_at: float = 0.0
    ended: CallEnded | None = None
    error: str = "the process ended while it loaded"


@dataclass(frozen=True, slots=True)
class CallOver:
    """What became of a call that this pod took."""

    job_id: str
    cause: Cause
    seconds: float


def over_of(process: Process, job_id: str, killed_for: Cause | None) -> CallOver:
    """What became of the call of a process that is gone. One that said nothing has died."""
    if process.ended is not None:
        return CallOver(job_id, process.ended.cause, process.ended.seconds)
    return CallOver(job_id, killed_for or Cause.CRASHED, time.monotonic() - process.began_at)


def log(over: CallOver, room_id: str) -> None:
    """One record a call, an error where it failed."""
    outcome = OUTCOMES[over.cause]
    level = logging.ERROR if outcome is Outcome.FAILED else logging.INFO
    fields = {
        "job_id": over.job_id,
        "room_id": room_id,
        "outcome": outcome.value,
        "cause": over.cause.value,
        "seconds": round(over.seconds, 3),
    }
    logger.log(level, "call over", extra=fields)


class ProtocolError(Exception):
    """A line that no process of ours would send there and then."""


def fact_of(line: bytes) -> Fact:
    """:raises ProtocolError: if the line is no fact."""
    try:
        return messages.FACT.validate_json(line)
    except ValidationError as error:
        raise ProtocolError(
            f"{error.error_count()} violations in a line of {len(line)} bytes"
        ) from None


def send(writer: asyncio.StreamWriter, order: Order) -> None:
    """Without waiting: an order is a few bytes, and a process that is gone needs none."""
    if not writer.is_closing():
        writer.write(messages.line(order))


# A process that connects says who it is at once.
FIRST_LINE_SECONDS = 10.0

# Before a process loads its models, where others have just failed to.
LONGEST_PAUSE_SECONDS = 30.0

PAUSE_AFTER_NONSENSE_SECONDS = 0.1
FORGOTTEN_AFTER_SECONDS = 60.0


async def _nothing() -> None:
    pass


@dataclass(slots=True)
class Processes:
    """Belongs to the parent's event loop. `on_fact` hears every fact, with the job of the call it
    is about; `on_over` hears once of each call that began.
    """

    state: PodState
    deaths: KillReasons
    on_fact: Callable[[str | None, Fact], None] = lambda *_: None
    on_over: Callable[[CallOver], None] = lambda _: None
    on_wrong: Callable[[], None] = lambda: None
    on_freed: Callable[[], Awaitable[None]] = _nothing
    _connected: set[Process] = field(default_factory=set)
    _leaving: set[str] = field(default_factory=set)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncIterator[None]:
        """Take connections while the context lasts."""
        server = await asyncio.start_unix_server(
            self._connection, path, limit=messages.LONGEST_LINE_BYTES
        )
        try:
            yield
        finally:
            server.close()
            for process in self._connected:
                process.writer.close()

    @property
    def warm_count(self) -> int:
        """Processes that wait for a call; asked from LiveKit's thread for the load, too."""
        return sum(p.is_warm and p.job_id is None for p in tuple(self._connected))

    def without_leaving(self, calls: Iterable[Call]) -> list[Call]:
        """Those of LiveKit's jobs that still need their slot: the caller of the others has left.
        From any thread.
        """
        return [job for job in calls if job.id not in self._leaving]

    def pids(self) -> dict[str, int]:
        """The process of each call."""
        return {p.job_id: p.pid for p in tuple(self._connected) if p.job_id is not None}

    async def end_calls(self, cause: Cause, within_seconds: float) -> None:
        """Have every call ended politely, and wait for it, but not for longer than this."""
        order = EndCall(cause=cause)
        for process in self._connected:
            if process.job_id is not None and process.ended is None:
                send(process.writer, order)
        self._look_whether_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self._idle.wait()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        process: Process | None = None
        try:
            async with asyncio.timeout(FIRST_LINE_SECONDS):
                process = self._introduced(await reader.readline(), writer)
            await self._listen(process, reader)
        except (ProtocolError, ValueError, TimeoutError) as error:
            self._not_understood(process, error)
        except OSError:
            pass  # It is gone; what that means is the same as for one that left.
        finally:
            writer.close()
            if process is not None:
                self._gone(process)

    async def _listen(self, process: Process, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await reader.readline()
                if not line:
                    return
                fact = fact_of(line)
                self._take(process, fact)
                if isinstance(fact, CallEnding | CallEnded):
                    await self.on_freed()
            except (ProtocolError, ValueError) as error:
                # ValueError: a line longer than the limit. Whoever floods us waits in its own send.
                self._not_understood(process, error)
                await asyncio.sleep(PAUSE_AFTER_NONSENSE_SECONDS)

    def _not_understood(self, process: Process | None, error: Exception) -> None:
        self.on_wrong()
        pid = process.pid if process else None
        logger.warning("process not understood", extra={"pid": pid, "problem": str(error)})

    def _introduced(self, line: bytes, writer: asyncio.StreamWriter) -> Process:
        fact = fact_of(line)
        if not isinstance(fact, Warming):
            raise ProtocolError(f"expected warming first, and got {fact.type}")
        process = Process(writer, fact.pid)
        self._connected.add(process)
        failures = self.state.prewarm_failures
        pause = min(2.0 ** (failures - 1), LONGEST_PAUSE_SECONDS) if failures else 0.0
        send(writer, Proceed(after_seconds=pause))
        return process

    def _take(self, process: Process, fact: Fact) -> None:
        match fact:
            case Warm():
                process.is_warm = True
                self.state.warmed()
            case PrewarmFailed(error=error):
                process.error = error
            case CallStarted(job_id=job_id):
                self._begin(process, job_id)
            case CallEnding() if process.job_id is not None:
                self._leaving.add(process.job_id)
            case CallEnded() if process.job_id is not None and process.ended is None:
                self._leaving.add(process.job_id)
                process.ended = fact
            case Warming() | CallEnding() | CallEnded():
                raise ProtocolError(f"{fact.type} at the wrong time")
        self.on_fact(process.job_id, fact)

    def _begin(self, process: Process, job_id: str) -> None:
        known = {call.id: call for call in self.state.calls()}
        if process.job_id is not None or job_id in self.pids() or job_id not in known:
            raise ProtocolError("call_started for a call that is not its own")
        process.job_id, process.began_at = job_id, time.monotonic()
        process.room_id = known[job_id].room_id

    def _gone(self, process: Process) -> None:
        self._connected.discard(process)
        killed_for = self.deaths.cause_of(process.pid)
        if process.job_id is not None:
            over = over_of(process, process.job_id, killed_for)
            log(over, process.room_id)
            self.on_over(over)
            # By then LiveKit has seen the end of the process, and the job is none of its own.
            loop = asyncio.get_running_loop()
            loop.call_later(FORGOTTEN_AFTER_SECONDS, self._leaving.discard, process.job_id)
        elif not process.is_warm and not self.state.is_stopping:
            self.state.prewarm_failed(process.error)
            logger.error(
                "prewarm failed",
                extra={"error": process.error, "in_a_row": self.state.prewarm_failures},
            )
        self._look_whether_idle()

    def _look_whether_idle(self) -> None:
        if any(process.job_id is not None for process in self._connected):
            self._idle.clear()
        else:
            self._idle.set()

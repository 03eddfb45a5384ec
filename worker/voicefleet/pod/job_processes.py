"""The pod's end of the line to its job processes: who is warm, who has a call, who has died.

Each process connects once, before it loads its models, and stays connected until it ends; so the
end of a connection is the end of a process, however it came. What arrives is checked as if a
stranger had sent it: agent code runs in those processes.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from voicefleet.backoff import pause_seconds
from voicefleet.livekit_compat.kill_reasons import KillReasons
from voicefleet.pod.calls import Call, CallState, CallTable, EndedCall, WrongOrderError
from voicefleet.pod.phase import PodState
from voicefleet.pod.resume import HOPELESS, ResumePolicy
from voicefleet.telemetry import messages
from voicefleet.telemetry.messages import (
    Alive,
    CallEnded,
    CallEnding,
    CallStarted,
    Cause,
    EndCall,
    Fact,
    Joined,
    Kept,
    NotResumed,
    Order,
    PrewarmFailed,
    Proceed,
    Resume,
    Resumed,
    SessionsOpen,
    Warm,
    Warming,
)

logger = logging.getLogger(__name__)

# A process that connects says who it is at once.
FIRST_LINE_SECONDS = 10.0

# Before a process loads its models, where others have just failed to.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0

PAUSE_AFTER_NONSENSE_SECONDS = 0.1

LOOK_EVERY_SECONDS = 0.5


class ProtocolError(Exception):
    """A line that no process of ours would send there and then."""


class Observer(Protocol):
    """Who hears every fact, with the call it is about, and once of each call that has ended."""

    def observe(self, call: Call | None, fact: Fact) -> None: ...
    def ended(self, call: EndedCall) -> None: ...
    def not_understood(self) -> None: ...
    def died(self, cause: Cause) -> None: ...
    def not_resumed(self, why: NotResumed) -> None: ...


@dataclass(slots=True, eq=False)
class JobProcess:
    """One job process and its end of the line."""

    writer: asyncio.StreamWriter
    pid: int
    is_warm: bool = False
    call: Call | None = None
    alive_at: float = 0.0
    error: str = "the process ended while it loaded"

    def send(self, order: Order) -> None:
        """Without waiting: an order is a few bytes, and a process that is gone needs none."""
        if not self.writer.is_closing():
            self.writer.write(messages.line(order))


@dataclass(slots=True)
class JobProcesses:
    """Belongs to the parent's event loop. `on_freed` is awaited when a slot may have become free,
    `on_gone` called with the pid of a process that has ended with a call.
    """

    table: CallTable
    state: PodState
    kill_reasons: KillReasons
    observer: Observer
    on_freed: Callable[[], Awaitable[None]]
    on_gone: Callable[[int], None]
    resume: ResumePolicy
    kill: Callable[[str], Awaitable[None]]
    unresponsive_seconds: float = 5.0
    _connected: set[JobProcess] = field(default_factory=set, init=False)
    _stuck: set[int] = field(default_factory=set, init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncIterator[None]:
        """Take connections while the context lasts."""
        server = await asyncio.start_unix_server(
            self._connection, path, limit=messages.LONGEST_LINE_BYTES
        )
        watching = asyncio.create_task(self._watch_loops(), name="watch the loops of calls")
        try:
            with self.kill_reasons.listening():
                yield
        finally:
            for task in (watching, *self._tasks):
                task.cancel()
            server.close()
            for process in self._connected:
                process.writer.close()

    async def end_calls(self, cause: Cause, within_seconds: float) -> None:
        """Have every call ended politely, and wait for it, but not for longer than this."""
        self.resume.has_stopped = True
        for process in self._connected:
            if process.call is not None and process.call.told is None:
                process.send(EndCall(cause=cause))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self.table.drained()

    async def end_call(self, call: Call, cause: Cause) -> None:
        """Have this call's process leave: nobody is there to be told. Its slot is free from now."""
        for process in self._connected:
            if process.call is call:
                process.send(EndCall(cause=cause))
                self.table.caller_left(call)
                await self.on_freed()

    def closed(self, job_id: str, pid: int | None) -> None:
        """LiveKit has seen the end of a process that it had given this call. Where that process
        was connected, the end of its line tells more; it may never have come so far.
        """
        call = self.table.get(job_id)
        if call is not None and call.pid is None:
            self._lost_its_process(call, self._killed_for(pid))

    async def _watch_loops(self) -> None:
        """Kill jobs whose event loop stands still, where another can go on with their call."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            now = loop.time()
            if now - began > 2 * LOOK_EVERY_SECONDS:
                # The pod itself stood still, and has not read what they say.
                continue
            for process in tuple(self._connected):
                if now - process.alive_at > self.unresponsive_seconds:
                    self._replace(process)

    def _replace(self, process: JobProcess) -> None:
        """Kill a process whose loop stands still, where another can go on with its call. Before its
        first session, an entrypoint may load what takes long.
        """
        call = process.call
        if (
            call is None
            or call.state is not CallState.RUNNING
            or call.open_sessions == 0
            or call.is_given_up
            or process.pid in self._stuck
            or self.resume.obstacle(call, Cause.UNRESPONSIVE) is not None
        ):
            return
        self._stuck.add(process.pid)
        self._start(self._kill(call.current_job_id), f"kill {call.job_id}")

    async def _kill(self, job_id: str) -> None:
        try:
            await self.kill(job_id)
        except Exception:
            logger.exception("a process could not be killed", extra={"job_id": job_id})

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        process: JobProcess | None = None
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

    def _introduced(self, line: bytes, writer: asyncio.StreamWriter) -> JobProcess:
        fact = fact_of(line)
        if not isinstance(fact, Warming):
            raise ProtocolError(f"expected warming first, and got {fact.type}")
        process = JobProcess(writer, fact.pid)
        # Of another that had this pid, and ended without a call.
        self.kill_reasons.pop(process.pid)
        self._connected.add(process)
        self.state.job_pids.add(process.pid)
        failures = self.state.prewarm_failures
        pause = pause_seconds(failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        process.send(Proceed(after_seconds=pause))
        return process

    async def _listen(self, process: JobProcess, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await reader.readline()
                if not line:
                    return
                fact = fact_of(line)
                if isinstance(fact, Alive | CallStarted):
                    # The exporter of spans, and others, have threads of their own.
                    process.alive_at = asyncio.get_running_loop().time()
                self._take(process, fact)
                if isinstance(fact, CallEnding | CallEnded):
                    await self.on_freed()
            except (ProtocolError, ValueError) as error:
                # ValueError: a line longer than the limit. Whoever floods us waits in its own send.
                self._not_understood(process, error)
                await asyncio.sleep(PAUSE_AFTER_NONSENSE_SECONDS)

    def _not_understood(self, process: JobProcess | None, error: Exception) -> None:
        self.observer.not_understood()
        pid = process.pid if process else None
        logger.warning("process not understood", extra={"pid": pid, "problem": str(error)})

    def _take(self, process: JobProcess, fact: Fact) -> None:
        call = process.call
        match fact:
            case Warm() if not process.is_warm:
                process.is_warm = True
                self.state.warmed()
                self._count_warm()
            case PrewarmFailed(error=error):
                process.error = error
            case CallStarted(job_id=job_id) if call is None:
                call = process.call = self._started(process, job_id)
                self._tell_the_conversation(process, call)
                self._count_warm()
            case Kept() | Resumed():
                _keep(call, fact)
            case Joined(seconds=seconds) if call is not None:
                self.table.joined(call, seconds)
            case SessionsOpen(count=count) if call is not None:
                self.table.sessions_open(call, count)
            case CallEnding() if call is not None:
                self.table.caller_left(call)
            case CallEnded() if call is not None and call.told is None:
                self.table.told_its_end(call, fact)
            case Warming() | Warm() | CallStarted() | SessionsOpen() | CallEnding() | CallEnded():
                raise ProtocolError(f"{fact.type} at the wrong time")
        self.observer.observe(call, fact)

    def _started(self, process: JobProcess, job_id: str) -> Call:
        try:
            return self.table.started(job_id, process.pid)
        except WrongOrderError as error:
            raise ProtocolError(str(error)) from None

    def _gone(self, process: JobProcess) -> None:
        self._connected.discard(process)
        self.state.job_pids.discard(process.pid)
        self._count_warm()
        if process.call is not None:
            self._lost_its_process(process.call, self._killed_for(process.pid))
            self.on_gone(process.pid)
        elif not process.is_warm and not self.state.is_stopping:
            self.state.prewarm_failures += 1
            logger.error(
                "prewarm failed",
                extra={"error": process.error, "in_a_row": self.state.prewarm_failures},
            )

    def _lost_its_process(self, call: Call, killed_for: Cause | None) -> None:
        if call.state in (CallState.RUNNING, CallState.RESUMING) and call.told is None:
            if killed_for is Cause.END_CUT_OFF:
                # Its event loop had stood still since before its end.
                killed_for = Cause.UNRESPONSIVE
            self.observer.died(killed_for or Cause.CRASHED)
            if call.is_given_up:
                self._over(self.table.gone(call, killed_for))
                return
            obstacle = self.resume.obstacle(call, killed_for)
            if obstacle is not None:
                self.observer.not_resumed(obstacle)
            if obstacle is None or obstacle in HOPELESS:
                self.table.died(call, killed_for, gives_up=obstacle is not None)
                self._start(self._bring_back(call), f"resume {call.job_id}")
                return
        self._over(self.table.gone(call, killed_for))

    async def _bring_back(self, call: Call) -> None:
        fields = {"job_id": call.job_id, "cause": call.deaths[-1].cause.value}
        if call.is_given_up:
            logger.error("a call takes its jobs along: it is told farewell", extra=fields)
        else:
            logger.warning("a job has died: its call is resumed", extra=fields)
        if not await self.resume.bring_back(call):
            self.observer.not_resumed(NotResumed.NOT_LAUNCHED)
            self._over(self.table.gone(call, call.deaths[-1].cause))

    def _tell_the_conversation(self, process: JobProcess, call: Call) -> None:
        """What a process that goes on with a call waits for, before the agent file runs."""
        if not call.deaths:
            return
        for piece in call.conversation:
            process.send(piece)
        seconds = max(0.0, self.table.clock() - call.deaths[-1].at)
        process.send(Resume(seconds=seconds, is_last=call.is_given_up))
        if self.resume.has_stopped:
            process.send(EndCall(cause=Cause.DRAINED))

    def _over(self, ended: EndedCall | None) -> None:
        if ended is not None:
            self.observer.ended(ended)

    def _killed_for(self, pid: int | None) -> Cause | None:
        reason = self.kill_reasons.pop(pid)
        if pid in self._stuck:
            self._stuck.discard(pid)
            return Cause.UNRESPONSIVE
        return None if reason is None else Cause(reason.value)

    def _count_warm(self) -> None:
        warm = (process for process in self._connected if process.is_warm and process.call is None)
        self.state.warm_processes = sum(1 for _ in warm)


def _keep(call: Call | None, fact: Kept | Resumed) -> None:
    if call is None or (isinstance(fact, Resumed) and not call.deaths):
        raise ProtocolError(f"{fact.type} at the wrong time")
    if isinstance(fact, Kept):
        try:
            call.conversation.keep(fact)
        except ValueError as error:
            raise ProtocolError(str(error)) from None


def fact_of(line: bytes) -> Fact:
    """:raises ProtocolError: if the line is no fact."""
    try:
        return messages.FACT.validate_json(line)
    except ValidationError as error:
        problem = f"{error.error_count()} violations in a line of {len(line)} bytes"
        raise ProtocolError(problem) from None

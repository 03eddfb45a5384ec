"""What the pod shows of its calls: each fact is counted, each call has its span and its report, and
what the pod is at the moment can be scraped.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from livekit.agents import JobRequest
from livekit.agents.job import RunningJobInfo

from worker.server import stalls
from worker.server.process import CallOver
from worker.telemetry.call_account import CallAccount
from worker.telemetry.call_record import CallRecord
from worker.telemetry.events import OUTCOMES, CallStarted, Cause, Fact
from worker.telemetry.facts import Joined, Spans
from worker.telemetry.gauges import PodInfo, PodReading
from worker.telemetry.harmless import harmless
from worker.telemetry.metrics import PodMetrics
from worker.telemetry.pod_traces import PodTraces
from worker.telemetry.reports import Reports
from worker.telemetry.span_wire import MalformedSpansError

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class KnownCall:
    """A call that began here; times are unix seconds, `slot` counts from 0."""

    slot: int
    room_id: str
    offered_at: float
    accepted_at: float | None
    launched_at: float | None
    account: CallAccount
    joined_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the pod's state is asked for: what runs, what the gauges show beside the memory of each
    call, and the process of each call by its job id.
    """

    running: Callable[[], Iterable[RunningJobInfo]]
    reading: Callable[[], PodReading]
    pids: Callable[[], Mapping[str, int]]
    clock: Callable[[], float]


class PodTelemetry:
    """Belongs to the parent's event loop. Whatever goes wrong in here is logged, not raised."""

    def __init__(
        self, info: PodInfo, sources: Sources, traces: PodTraces | None, reports: Reports
    ) -> None:
        self._info, self._sources = info, sources
        self._traces, self._reports = traces, reports
        self._calls: dict[str, KnownCall] = {}
        self._memory: dict[int, int] = {}
        self.metrics = PodMetrics(self._reading, info)

    def observe(self, job_id: str | None, fact: Fact) -> None:
        """A fact from a process, with the call that it has, if it has one."""
        with harmless():
            match fact:
                case CallStarted():
                    self._begin(fact.job_id)
                case Joined() if job_id in self._calls:
                    self._calls[job_id].joined_seconds = fact.seconds
                case Spans():
                    self._send(fact)
            if job_id in self._calls:
                self._calls[job_id].account.add(fact)
            self.metrics.observe(fact)

    def call_over(self, over: CallOver) -> None:
        """A call that began here is over, however it ended."""
        with harmless():
            self.metrics.call_ended(OUTCOMES[over.cause], over.cause, over.seconds)
            known = self._calls.pop(over.job_id, None)
            if known is None:
                return
            record = self._record(over.job_id, over.cause, known)
            if self._traces is not None:
                self._traces.call_ended(record)
            self._reports.call_ended(record, over.seconds, known.account)

    def refused(self, request: JobRequest, cause: Cause) -> None:
        """An offered call is not taken."""
        with harmless():
            self.metrics.call_ended(OUTCOMES[cause], cause, None)
            if self._traces is not None:
                now = self._sources.clock()
                job = request.job
                self._traces.call_ended(
                    CallRecord(
                        job_id=job.id,
                        room_id=job.room.sid,
                        agent_name=self._info.agent_name,
                        outcome=OUTCOMES[cause],
                        cause=cause,
                        offered_at=now,
                        ended_at=now,
                    )
                )

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """The metrics, in the format that the Accept header asks for."""
        pids = {self._calls[j].slot: p for j, p in self._sources.pids().items() if j in self._calls}
        # The kernel walks every page of a process for this: milliseconds each, so not on the loop.
        self._memory = await asyncio.to_thread(_memory_bytes, pids)
        return self.metrics.scrape(accept)

    @asynccontextmanager
    async def showing(self) -> AsyncIterator[None]:
        """Watch over this loop while the context lasts, then send the last spans and reports."""
        stalled = stalls.watch(self.metrics.pod_stalled)
        watching = asyncio.create_task(stalled, name="watch for stalls")
        try:
            yield
        finally:
            watching.cancel()
            closing = [self._reports.close]
            if self._traces is not None:
                closing.append(self._traces.close)
            await asyncio.gather(*(asyncio.to_thread(close) for close in closing))

    def _begin(self, job_id: str) -> None:
        info = next((r for r in self._sources.running() if r.job.id == job_id), None)
        now = self._sources.clock()
        taken = {call.slot for call in self._calls.values()}
        self._calls[job_id] = KnownCall(
            slot=next(slot for slot in range(len(taken) + 1) if slot not in taken),
            room_id=info.job.room.sid if info else "",
            offered_at=(info.received_at if info else 0) or now,
            accepted_at=(info.accepted_at if info else 0) or None,
            launched_at=(info.launched_at if info else 0) or None,
            account=self._reports.account(),
        )

    def _record(self, job_id: str, cause: Cause, known: KnownCall) -> CallRecord:
        joined = known.joined_seconds
        return CallRecord(
            job_id=job_id,
            room_id=known.room_id,
            agent_name=self._info.agent_name,
            outcome=OUTCOMES[cause],
            cause=cause,
            offered_at=known.offered_at,
            ended_at=self._sources.clock(),
            accepted_at=known.accepted_at,
            launched_at=known.launched_at,
            joined_at=None if joined is None else known.offered_at + joined,
            slot=known.slot,
        )

    def _send(self, spans: Spans) -> None:
        if self._traces is None:
            return
        try:
            self._traces.accept(spans)
        except MalformedSpansError as error:
            self.metrics.event_rejected()
            logger.warning("spans not understood", extra={"problem": str(error)})

    def _reading(self) -> PodReading:
        return replace(self._sources.reading(), call_memory_bytes=self._memory)


def _memory_bytes(pids: Mapping[int, int]) -> dict[int, int]:
    """The PSS of each process that is still there, by slot (proc(5), smaps_rollup)."""
    found = {}
    for slot, pid in pids.items():
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue
        kilobytes = next((int(s.split()[1]) for s in text.splitlines() if s.startswith("Pss:")), 0)
        found[slot] = kilobytes * 1024
    return found

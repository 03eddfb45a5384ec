"""What the pod shows of its calls: each fact is counted, each call has its span and its report, and
what the pod is at the moment can be scraped.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from livekit.agents import AgentServer, JobRequest
from livekit.agents.job import RunningJobInfo

from voicefleet.pod.job_processes import CallOver, Processes
from voicefleet.pod.load import LoadMeter
from voicefleet.pod.reconnect import Reconnect
from voicefleet.settings.telemetry import Telemetry
from voicefleet.telemetry import pod_traces, reports
from voicefleet.telemetry.call_report import CallRecord, CallTotals
from voicefleet.telemetry.guard import never_raises
from voicefleet.telemetry.messages import OUTCOMES, CallStarted, Cause, Fact, Joined, Spans
from voicefleet.telemetry.metrics import PodInfo, PodMetrics, PodReading
from voicefleet.telemetry.pod_traces import PodTraces
from voicefleet.telemetry.reports import Reports
from voicefleet.telemetry.span_wire import MalformedSpansError

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 0.1
STALL_SECONDS = 0.1


async def watch(on_stall: Callable[[], None]) -> None:
    """Until cancelled, call `on_stall` for each time the loop came back late."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOK_EVERY_SECONDS
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        late_seconds = loop.time() - due
        if late_seconds >= STALL_SECONDS:
            logger.warning("event loop stalled", extra={"seconds": round(late_seconds, 3)})
            on_stall()


@dataclass(slots=True)
class KnownCall:
    """A call that began here; times are unix seconds, `slot` counts from 0."""

    slot: int
    room_id: str
    offered_at: float
    accepted_at: float | None
    launched_at: float | None
    account: CallTotals
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
        with never_raises():
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
        with never_raises():
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
        with never_raises():
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
        stalled = watch(self.metrics.pod_stalled)
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


def telemetry(
    settings: Telemetry,
    agent_name: str,
    server: AgentServer,
    processes: Processes,
    reading: Callable[[], PodReading],
) -> PodTelemetry:
    """The telemetry of the pod that is made of these."""
    state = processes.state
    running = lambda: server.active_jobs if state.is_serving else []  # noqa: E731
    info = PodInfo(version("voicefleet"), agent_name, version("livekit-agents"))
    sources = Sources(running, reading, processes.pids, time.time)
    return PodTelemetry(info, sources, pod_traces.begin(settings), reports.begin(settings))


def of(
    processes: Processes, meter: LoadMeter, load_now: Callable[[], float], reconnect: Reconnect
) -> PodReading:
    """What they show now; `load_now` is what LiveKit is told."""
    state, load_reported = processes.state, load_now()
    parts = meter.parts()
    return PodReading(
        calls_active=state.call_count,
        slots=state.slots,
        phase=state.phase.value,
        load={"slots": parts.slots, "cpu": parts.cpu, "memory": parts.memory},
        load_reported=load_reported,
        drain_began_at=state.drain_began_at,
        drain_deadline_at=state.drain_deadline_at,
        oldest_call_seconds=state.oldest_call_seconds,
        warm_processes=processes.warm_count,
        livekit_connected=reconnect.is_connected,
    )

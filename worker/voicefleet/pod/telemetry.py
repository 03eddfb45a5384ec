"""What the pod shows of its calls: each fact is counted, each call has its span and its report, and
what the pod is at the moment can be scraped.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from voicefleet.pod.calls import Call, CallTable, EndedCall
from voicefleet.pod.load import LoadMeter
from voicefleet.pod.phase import PodState
from voicefleet.pod.reconnect import Reconnect
from voicefleet.telemetry.call_report import CallRecord
from voicefleet.telemetry.guard import never_raises
from voicefleet.telemetry.messages import OUTCOMES, Cause, Fact, Joined, NotResumed, Outcome, Spans
from voicefleet.telemetry.metrics import PodInfo, PodMetrics, PodReading
from voicefleet.telemetry.pod_traces import PodTraces
from voicefleet.telemetry.reports import Reports
from voicefleet.telemetry.span_wire import MalformedSpansError

logger = logging.getLogger(__name__)

# In a call LiveKit's own monitor does this (livekit-agents 1.8.9, telemetry/loop_monitor.py); in
# the parent only LiveKit's own command line starts one.
LOOK_EVERY_SECONDS = 0.1
STALL_SECONDS = 0.1

# The kernel walks every page of a process to tell its memory: milliseconds, and seconds for one
# that it is taking apart. A scrape waits no longer than this, and shows what was read last.
MEMORY_WITHIN_SECONDS = 1.0


class PodTelemetry:
    """Belongs to the parent's event loop. Whatever goes wrong in here is logged, not raised.

    Memory is read on a thread of its own: LiveKit reads the load on the loop's threads before each
    answer, and gives up on a pod after 3 s.
    """

    def __init__(
        self,
        info: PodInfo,
        reading: Callable[[Mapping[int, int]], PodReading],
        pids: Callable[[], Mapping[int, int]],
        traces: PodTraces | None,
        reports: Reports,
    ) -> None:
        self._reading, self._pids = reading, pids
        self._traces, self._reports = traces, reports
        self._memory: dict[int, int] = {}
        self._memory_thread = ThreadPoolExecutor(1, "memory of calls")
        self._reading_memory: asyncio.Future[dict[int, int]] | None = None
        self.metrics = PodMetrics(lambda: self._reading(self._memory), info)

    def observe(self, call: Call | None, fact: Fact) -> None:
        """A fact from a process, with the call that it has, if it has one."""
        with never_raises():
            if isinstance(fact, Spans):
                self._send(fact)
            if call is not None:
                call.totals.add(fact)
            # A call is answered once, whatever its processes do.
            if not (isinstance(fact, Joined) and call is not None and call.deaths):
                self.metrics.observe(fact)

    def taken(self) -> None:
        self.metrics.call_taken()

    def refused(self, record: CallRecord) -> None:
        """An offered call is not taken."""
        with never_raises():
            self.metrics.call_ended(record.outcome, record.cause, None)
            if self._traces is not None:
                self._traces.call_ended(record)

    def ended(self, call: EndedCall) -> None:
        """A call that this pod took has ended, however it ended."""
        with never_raises():
            _log(call)
            has_begun = call.record.launched_at is not None
            outcome = OUTCOMES[call.cause]
            self.metrics.call_ended(outcome, call.cause, call.seconds if has_begun else None)
            if self._traces is not None:
                self._traces.call_ended(call.record)
            self._reports.call_ended(call.record, call.seconds, call.totals)

    def not_understood(self) -> None:
        self.metrics.event_rejected()

    def died(self, cause: Cause) -> None:
        """A process has died with a call, or was killed."""
        self.metrics.job_died(cause)

    def not_resumed(self, why: NotResumed) -> None:
        """And its call is lost with it."""
        self.metrics.not_resumed(why.value)

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """The metrics, in the format that the Accept header asks for."""
        if self._reading_memory is None or self._reading_memory.done():
            loop = asyncio.get_running_loop()
            self._reading_memory = _read_memory(loop, self._memory_thread, self._pids())
        done, _ = await asyncio.wait({self._reading_memory}, timeout=MEMORY_WITHIN_SECONDS)
        if done:
            with never_raises():
                self._memory = self._reading_memory.result()
        return self.metrics.scrape(accept)

    @asynccontextmanager
    async def showing(self) -> AsyncIterator[None]:
        """Watch over this loop while the context lasts, then send the last spans and reports."""
        watching = asyncio.create_task(
            watch_for_stalls(self.metrics.pod_stalled), name="watch for stalls"
        )
        try:
            yield
        finally:
            watching.cancel()
            self._memory_thread.shutdown(wait=False, cancel_futures=True)
            closing = [self._reports.close]
            if self._traces is not None:
                closing.append(self._traces.close)
            await asyncio.gather(*(asyncio.to_thread(close) for close in closing))

    def _send(self, spans: Spans) -> None:
        if self._traces is None:
            return
        try:
            self._traces.accept(spans)
        except MalformedSpansError as error:
            self.metrics.event_rejected()
            logger.warning("spans not understood", extra={"problem": str(error)})


def reading(
    table: CallTable,
    state: PodState,
    meter: LoadMeter,
    reconnect: Reconnect,
    memory_bytes: Mapping[int, int],
) -> PodReading:
    """What the gauges show now."""
    load_reported = meter.load(table.launched_slots)
    parts = meter.parts()
    return PodReading(
        calls_active=table.active,
        calls_left=table.taken,
        calls_finishing=table.taken - table.active,
        slots=table.slots,
        phase=state.phase.value,
        load={"slots": parts.slots, "cpu": parts.cpu, "memory": parts.memory},
        load_reported=load_reported,
        drain_began_at=state.drain_began_at,
        drain_deadline_at=state.drain_deadline_at,
        oldest_call_seconds=table.oldest_seconds,
        warm_processes=state.warm_processes,
        livekit_connected=reconnect.is_connected,
        call_memory_bytes=memory_bytes,
    )


async def watch_for_stalls(on_stall: Callable[[], None]) -> None:
    """Until cancelled, call `on_stall` for each time the loop came back late: offers are answered
    late then, and probes fail.
    """
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOK_EVERY_SECONDS
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        late_seconds = loop.time() - due
        if late_seconds >= STALL_SECONDS:
            logger.warning("event loop stalled", extra={"seconds": round(late_seconds, 3)})
            on_stall()


def _log(call: EndedCall) -> None:
    """One record a call, an error where it failed."""
    record = call.record
    fields = {
        "job_id": record.job_id,
        "room_id": record.room_id,
        "outcome": record.outcome.value,
        "cause": record.cause.value,
        "seconds": round(call.seconds, 3),
    }
    if record.resumes:
        silence_seconds = round(record.silence_seconds, 3)
        fields |= {"resumes": record.resumes, "silence_seconds": silence_seconds}
    level = logging.ERROR if record.outcome is Outcome.FAILED else logging.INFO
    logger.log(level, "call over", extra=fields)


def _read_memory(
    loop: asyncio.AbstractEventLoop, thread: Executor, pids: Mapping[int, int]
) -> asyncio.Future[dict[int, int]]:
    return loop.run_in_executor(thread, _memory_bytes, pids)


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

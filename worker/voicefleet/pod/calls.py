"""The table of calls: the only owner of every call on this pod, from LiveKit's offer to its end.

    offered → accepted → running → (resuming → running)* → finishing → ended

It answers how many slots are taken, what a drain waits for, and what became of each call. Nothing
else in the pod keeps a set of calls. What always holds, whatever happens in whatever order:

1. An offer has one answer, and a call that began has one end, with one outcome and one cause.
2. Calls that hold a slot are never more than the slots; neither are their labels, from 0 on.
3. Processes with a call are never more than the slots and the budget for those that finish. A call
   that finishes gives its slot back, unless the budget is used up.
4. A call that has ended leaves nothing behind.

Belongs to the parent's event loop, but for what says that it may be read from any thread.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from voicefleet.conversation.memory import Conversation
from voicefleet.telemetry import call_ids
from voicefleet.telemetry.call_report import CallRecord, CallTotals
from voicefleet.telemetry.messages import OUTCOMES, CallEnded, Cause


class CallState(StrEnum):
    """OFFERED: LiveKit waits for the answer. ACCEPTED: the pod waits for a process with the call.
    RUNNING: a process has it. RESUMING: its process has died, and the next one is to go on with it.
    FINISHING: the caller has gone, and its process runs the agent file's own end.
    """

    OFFERED = "offered"
    ACCEPTED = "accepted"
    RUNNING = "running"
    RESUMING = "resuming"
    FINISHING = "finishing"


# LiveKit waits for the answer, or the pod for LiveKit.
WITHOUT_PROCESS = (CallState.OFFERED, CallState.ACCEPTED)
# Calls whose caller is there, or about to be.
ACTIVE = (CallState.ACCEPTED, CallState.RUNNING, CallState.RESUMING)
# What a drain waits for.
TAKEN = (*ACTIVE, CallState.FINISHING)

# Whoever hangs up on silence says nothing of why.
HUNG_UP = (Cause.CALLER_LEFT, Cause.ROOM_CLOSED)


class WrongOrderError(Exception):
    """An event of a call that cannot come there and then: a defect, or a process that lies."""


@dataclass(frozen=True, slots=True)
class Death:
    """A job of the call has died, at a unix time; the cause is what ends a call that is not resumed
    after it.
    """

    cause: Cause
    at: float


@dataclass(slots=True, eq=False)
class Call:
    """One call, by the id of its first job; `current_job_id` is that of the one that has it
    now, or is to have it, and `job` what LiveKit had launched it with. Times ending in `_at`
    are unix seconds and None while it has not come so far; `room_id` is LiveKit's (RM_…), `pid`
    the process that has the call, `told` what that process has said of its own end.
    `was_entered`: a caller has been in the room. `slot` is a label from 0 on, its own for as
    long as it holds the slot.
    """

    job_id: str
    room_id: str
    offered_at: float
    slot: int
    totals: CallTotals
    room_name: str = field(default="", repr=False)
    was_entered: bool = False
    open_sessions: int = 0
    holds_slot: bool = True
    state: CallState = CallState.OFFERED
    accepted_at: float | None = None
    launched_at: float | None = None
    joined_at: float | None = None
    pid: int | None = None
    told: CallEnded | None = None
    job: Any = field(default=None, repr=False)
    current_job_id: str = ""
    is_given_up: bool = False
    deaths: list[Death] = field(default_factory=list)
    conversation: Conversation = field(default_factory=Conversation, repr=False)

    def __post_init__(self) -> None:
        self.current_job_id = self.job_id


@dataclass(frozen=True, slots=True)
class EndedCall:
    """What became of a call that this pod took. `seconds` is its length, 0 if it never began."""

    record: CallRecord
    seconds: float
    totals: CallTotals

    @property
    def cause(self) -> Cause:
        return self.record.cause


@dataclass(slots=True)
class CallTable:
    """`finishing_budget`: how many calls may finish without a slot. `new_totals` makes what a call
    is summed up in.
    """

    slots: int
    finishing_budget: int
    agent_name: str = ""
    new_totals: Callable[[], CallTotals] = CallTotals
    clock: Callable[[], float] = time.time
    _calls: dict[str, Call] = field(default_factory=dict, init=False)
    _is_drained: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _occupied: int = field(default=0, init=False)
    _launched_slots: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._is_drained.set()

    # What it answers.

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(tuple(self._calls.values()))

    def get(self, job_id: str | None) -> Call | None:
        """The call that this job has; none where another job goes on with it."""
        call = self._calls.get(call_ids.call_id(job_id)) if job_id is not None else None
        return call if call is not None and call.current_job_id == job_id else None

    @property
    def occupied(self) -> int:
        """Slots that are taken, those of offers included. From any thread."""
        return self._occupied

    @property
    def free(self) -> int:
        return max(0, self.slots - self._occupied)

    @property
    def active(self) -> int:
        """Calls that are on: accepted, and their caller has not left."""
        return sum(1 for call in self if call.state in ACTIVE)

    @property
    def launched_slots(self) -> int:
        """Slots of calls that have a process, as the load counts them: LiveKit itself adds those
        that are only accepted. From any thread.
        """
        return self._launched_slots

    @property
    def taken(self) -> int:
        """Calls that a drain waits for."""
        return sum(1 for call in self if call.state in TAKEN)

    @property
    def oldest_seconds(self) -> float | None:
        """Age of the call that was taken first; None without a call."""
        began = [c.accepted_at or c.offered_at for c in self if c.state in TAKEN]
        return max(0.0, self.clock() - min(began)) if began else None

    def by_state(self) -> dict[str, int]:
        counted = Counter(call.state for call in self)
        return {state.value: counted[state] for state in CallState}

    def pids(self) -> dict[int, int]:
        """The process of each slot whose call has one."""
        return {call.slot: call.pid for call in self if call.holds_slot and call.pid is not None}

    async def drained(self) -> None:
        """Return when no call is left that a drain waits for."""
        await self._is_drained.wait()

    # What happens to a call, in the order of its life.

    def offer(
        self, job_id: str, room_id: str, room_name: str = "", *, callers: int = 0
    ) -> Call | None:
        """Reserve a slot for an offer; None where none is free, or the pod has the call already."""
        if job_id in self._calls or self._occupied >= self.slots:
            return None
        labels = {call.slot for call in self if call.holds_slot}
        slot = next(label for label in range(self.slots) if label not in labels)
        totals = self.new_totals()
        call = Call(job_id, room_id, self.clock(), slot, totals, room_name, callers > 0)
        self._calls[job_id] = call
        self._changed()
        return call

    def accepted(self, call: Call) -> None:
        """The pod has said yes."""
        self._expect(call, CallState.OFFERED)
        call.state, call.accepted_at = CallState.ACCEPTED, self.clock()
        self._changed()

    def refused(self, call: Call) -> None:
        """The pod has said no to a call for which it had reserved a slot."""
        self._expect(call, CallState.OFFERED)
        self._forget(call)

    def launched(self, job_id: str, offered_at: float, job: Any = None) -> None:
        """LiveKit has handed a call to a process, and tells when it offered it. The process may
        have said so itself by now, and even have ended.
        """
        if (call := self.get(job_id)) is None:
            return
        call.job = job
        call.offered_at = offered_at or call.offered_at
        if call.state is CallState.ACCEPTED:
            call.state, call.launched_at = CallState.RUNNING, self.clock()
            self._changed()

    def started(self, job_id: str, pid: int) -> Call:
        """A process says that it has the call.

        :raises WrongOrderError: if this pod has not accepted it, or another process has it.
        """
        call = self.get(job_id)
        may_start = (CallState.ACCEPTED, CallState.RUNNING, CallState.RESUMING)
        if call is None or call.pid is not None or call.state not in may_start:
            raise WrongOrderError("a process starts a call that is not its own")
        call.state, call.pid = CallState.RUNNING, pid
        call.launched_at = call.launched_at or self.clock()
        self._changed()
        return call

    def joined(self, call: Call, seconds: float) -> None:
        """The agent is in the room, so many seconds after the offer; the first one counts."""
        if call.joined_at is None:
            call.joined_at = call.offered_at + seconds

    def sessions_open(self, call: Call, count: int) -> None:
        """The call has so many sessions now. One whose sessions have closed has had its caller."""
        call.was_entered = call.was_entered or (call.open_sessions > 0 and count == 0)
        call.open_sessions = count

    def caller_left(self, call: Call) -> None:
        """What is left of the call is its end: the slot is free if the budget allows it."""
        if call.state in (CallState.RUNNING, CallState.FINISHING):
            call.state = CallState.FINISHING
            self._changed()

    def told_its_end(self, call: Call, ended: CallEnded) -> None:
        """Its process says how the call ended; only the first time counts. One that went on with
        the call knows its own part of it.
        """
        if call.told is None:
            seconds = self._seconds(call) if call.deaths else ended.seconds
            call.told = ended.model_copy(update={"seconds": seconds})
        self.caller_left(call)

    def died(self, call: Call, killed_for: Cause | None = None, *, gives_up: bool = False) -> None:
        """Its process has ended without a word of the call's end, and another is to go on with it,
        or to say farewell where one `gives_up`: the slot stays taken.
        """
        call.is_given_up = gives_up
        if call.state is not CallState.RESUMING:
            self._expect(call, CallState.RUNNING)
        call.deaths.append(Death(killed_for or Cause.CRASHED, self.clock()))
        call.state, call.pid, call.open_sessions = CallState.RESUMING, None, 0
        call.current_job_id = call_ids.next_job_id(call.current_job_id)
        self._changed()

    def gone(self, call: Call, killed_for: Cause | None = None) -> EndedCall | None:
        """Its process has ended. One that had not told its end has died, or was killed for a
        cause; one that had may have been killed in it. None if the call has ended before.
        """
        if call.is_given_up:
            return self._end(call, call.deaths[-1].cause, self._seconds(call))
        if call.told is not None:
            cause = call.told.cause
            if cause in HUNG_UP and call.totals.lacked_a_provider:
                cause = Cause.ERROR
            elif killed_for is Cause.END_CUT_OFF and cause is not Cause.ERROR:
                cause = Cause.END_CUT_OFF
            return self._end(call, cause, call.told.seconds)
        if killed_for is Cause.END_CUT_OFF:
            # Its event loop had stood still since before its end.
            killed_for = Cause.UNRESPONSIVE
        return self._end(call, killed_for or Cause.CRASHED, self._seconds(call))

    def never_began(self, call: Call, cause: Cause) -> EndedCall | None:
        """An accepted call got no process. None if one has begun it all the same."""
        return self._end(call, cause, 0.0) if call.pid is None else None

    def record(self, call: Call, cause: Cause) -> CallRecord:
        """The call as its span and its report tell it, if it ended now."""
        return CallRecord(
            job_id=call.job_id,
            room_id=call.room_id,
            agent_name=self.agent_name,
            outcome=OUTCOMES[cause],
            cause=cause,
            offered_at=call.offered_at,
            ended_at=self.clock(),
            accepted_at=call.accepted_at,
            launched_at=call.launched_at,
            joined_at=call.joined_at,
            slot=call.slot,
            resumes=call.totals.resumes,
            silence_seconds=call.totals.silence_seconds,
        )

    def _end(self, call: Call, cause: Cause, seconds: float) -> EndedCall | None:
        if self._calls.get(call.job_id) is not call:
            return None
        if call.state is CallState.OFFERED:
            raise WrongOrderError("an offer ends with its answer")
        self._forget(call)
        return EndedCall(self.record(call, cause), seconds, call.totals)

    def _seconds(self, call: Call) -> float:
        """Since its first process has it."""
        return 0.0 if call.launched_at is None else max(0.0, self.clock() - call.launched_at)

    def _expect(self, call: Call, state: CallState) -> None:
        if self._calls.get(call.job_id) is not call or call.state is not state:
            raise WrongOrderError(f"expected a call that is {state}")

    def _forget(self, call: Call) -> None:
        self._calls.pop(call.job_id, None)
        self._changed()

    def _changed(self) -> None:
        """Settle who holds a slot: those that finish beyond the budget keep theirs."""
        finishing = [call for call in self if call.state is CallState.FINISHING]
        without_slot = sum(1 for call in finishing if not call.holds_slot)
        for call in finishing:
            if call.holds_slot and without_slot < self.finishing_budget:
                call.holds_slot = False
                without_slot += 1
        holding = [call.state for call in self if call.holds_slot]
        self._occupied = len(holding)
        self._launched_slots = sum(1 for state in holding if state not in WITHOUT_PROCESS)
        if self.taken:
            self._is_drained.clear()
        else:
            self._is_drained.set()

"""Whether an offered call is taken: the hard cap of slots, and one quick answer in every case.

LiveKit gives up after 3 s without an answer and asks no other pod (livekit-server 1.13.5,
pkg/agent/client.go), so a refusal must be quick, and the agent file's own request handler may not
make the caller wait.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from livekit.agents import AssignmentTimeoutError, JobRequest
from livekit.agents.job import JobAcceptArguments

from voicefleet.pod.calls import Call, CallTable, EndedCall
from voicefleet.pod.phase import PodState
from voicefleet.telemetry.call_report import CallRecord
from voicefleet.telemetry.messages import OUTCOMES, Cause

logger = logging.getLogger(__name__)

# LiveKit's 3 s, less the way there and back and a busy moment.
ANSWER_WITHIN_SECONDS = 2.0

REASONS = {
    Cause.NO_SLOT: "every slot is taken",
    Cause.NOT_WARM: "no process can load its models",
    Cause.DRAINING: "the pod was told to stop",
    Cause.OVERLOADED: "CPU or memory of the pod is full",
    Cause.AGENT_FILE: "the agent file's on_request rejected it",
    Cause.AGENT_FILE_FAILED: "the agent file's on_request raised, or gave no answer in time",
}

Handler = Callable[[JobRequest], Any]


class Observer(Protocol):
    """Who hears of each answer, before LiveKit does, and of calls that end without a process."""

    def taken(self) -> None: ...
    def refused(self, record: CallRecord) -> None: ...
    def ended(self, call: EndedCall) -> None: ...


@dataclass(slots=True)
class Admission:
    """LiveKit's request function; LiveKit itself is made to refuse nothing before it
    (`livekit_compat.server`). `handler` is the agent file's own, or None to take whatever comes;
    `is_overloaded` says whether the pod would harm its calls by one more. `handler_runs` is entered
    for as long as the handler runs.

    Belongs to the parent's event loop: between the look at the slots and the reservation nothing
    else runs, so two offers for the last slot give one call.
    """

    table: CallTable
    state: PodState
    observer: Observer
    handler: Handler | None = None
    is_overloaded: Callable[[], bool] = lambda: False
    answer_within_seconds: float = ANSWER_WITHIN_SECONDS
    handler_runs: Callable[[], AbstractContextManager[None]] = nullcontext

    async def answer(self, request: JobRequest) -> None:
        """Take the call, or refuse it at once so that LiveKit can ask another pod."""
        cause = self._obstacle()
        room = request.room
        call = None
        if cause is None:
            call = self.table.offer(request.id, room.sid, room.name, callers=room.num_participants)
        offer = Offer(self, request, call)
        if call is None:
            await offer.refuse(cause or Cause.NO_SLOT)
        elif self.handler is None:
            await offer.accept(None)
        else:
            with self.handler_runs():
                await self._ask(self.handler, offer)

    def _obstacle(self) -> Cause | None:
        if self.state.is_stopping:
            return Cause.DRAINING
        if not self.state.can_take_calls:
            return Cause.NOT_WARM
        # A pod that is full of calls is not called overloaded.
        return Cause.OVERLOADED if self.table.free and self.is_overloaded() else None

    async def _ask(self, handler: Handler, offer: "Offer") -> None:
        """The agent file's answer, or a refusal where it raises, ends or waits without one."""
        handling = asyncio.create_task(_call(handler, offer.for_the_file()), name="on_request")
        answered = asyncio.create_task(offer.answered.wait(), name="wait for its answer")
        try:
            await asyncio.wait(
                {handling, answered},
                timeout=self.answer_within_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not offer.answered.is_set():
                # A task that was cancelled has no exception to tell.
                has_ended = handling.done() and not handling.cancelled()
                if has_ended and (error := handling.exception()) is not None:
                    logger.error("on_request raised", exc_info=error, extra=offer.fields)
                # A handler that is still at it may say what it likes from now on: nobody hears it.
                await offer.refuse(Cause.AGENT_FILE_FAILED)
            else:
                # It has the call's start to wait for, and perhaps something of its own to do.
                await handling
        finally:
            answered.cancel()
            handling.cancel()
            # What a handler does when it is told to stop is its own, and nobody's error here.
            handling.add_done_callback(lambda task: task.cancelled() or task.exception())


class Offer:
    """An offer and its answer: the first one counts, and LiveKit hears no other."""

    def __init__(self, admission: Admission, request: JobRequest, call: Call | None) -> None:
        self._table, self._observer = admission.table, admission.observer
        self._request, self._call = request, call
        self.answered = asyncio.Event()
        slots = admission.table.slots
        self.fields = {"job_id": request.id, "room_id": request.room.sid, "slots": slots}

    async def accept(self, arguments: JobAcceptArguments | None) -> None:
        """Say yes, and return when a process has the call.

        :raises AssignmentTimeoutError: LiveKit's, if it has given the call to nobody.
        """
        call = self._call
        if call is None or not self._is_first("accept"):
            return
        self._table.accepted(call)
        self._observer.taken()
        try:
            if arguments is None:
                await self._request.accept()
            else:
                await self._request.accept(
                    name=arguments.name,
                    identity=arguments.identity,
                    metadata=arguments.metadata,
                    attributes=arguments.attributes,
                )
        except AssignmentTimeoutError:
            self._has_not_begun(call, Cause.NOT_ASSIGNED)
            raise
        except BaseException:
            self._has_not_begun(call, Cause.NOT_STARTED)
            raise

    async def refuse(self, cause: Cause, *, terminate: bool = False) -> None:
        """Say no, for a cause that is counted and logged; `terminate` ends the job for good."""
        if not self._is_first("reject"):
            return
        if self._call is not None:
            record = self._table.record(self._call, cause)
            self._table.refused(self._call)
        else:
            record = self._unknown(cause)
        logger.warning(
            "refused", extra={"why": REASONS[cause], "cause": cause.value, **self.fields}
        )
        self._observer.refused(record)
        await self._request.reject(terminate=terminate)

    def _has_not_begun(self, call: Call, cause: Cause) -> None:
        if (ended := self._table.never_began(call, cause)) is not None:
            logger.error("accepted call has not begun", extra={"cause": cause.value, **self.fields})
            self._observer.ended(ended)

    def for_the_file(self) -> JobRequest:
        """The same request, whose answers come here."""

        async def reject(terminate: bool) -> None:
            await self.refuse(Cause.AGENT_FILE, terminate=terminate)

        return JobRequest(job=self._request.job, on_accept=self.accept, on_reject=reject)

    def _is_first(self, answer: str) -> bool:
        if self.answered.is_set():
            fields = {"answer": answer, **self.fields}
            logger.warning("a second answer to an offer is not sent", extra=fields)
            return False
        self.answered.set()
        return True

    def _unknown(self, cause: Cause) -> CallRecord:
        """What is told of a call for which there was no slot."""
        now = self._table.clock()
        return CallRecord(
            job_id=self._request.id,
            room_id=self._request.room.sid,
            agent_name=self._table.agent_name,
            outcome=OUTCOMES[cause],
            cause=cause,
            offered_at=now,
            ended_at=now,
        )


async def _call(handler: Handler, request: JobRequest) -> None:
    result = handler(request)
    if inspect.isawaitable(result):
        await result

"""Whether an offered call is taken: the hard cap of slots, and a quick answer in every case.

LiveKit gives up after 3 s without an answer and asks no other pod (livekit-server 1.13.5,
pkg/agent/client.go), so a refusal must be quick, and the agent file's own request handler may not
make the caller wait.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from livekit.agents import JobRequest
from livekit.agents.job import JobAcceptArguments

from voicefleet.telemetry.messages import Cause

logger = logging.getLogger(__name__)

# LiveKit's 3 s, less the way there and back and a busy moment.
ANSWER_WITHIN_SECONDS = 2.0

WORDS = {
    Cause.NO_SLOT: "every slot is taken",
    Cause.NOT_WARM: "no process can load its models",
    Cause.AGENT_FILE: "the agent file's on_request gave no answer in time",
}

Handler = Callable[[JobRequest], Any]


@dataclass(slots=True)
class Admission:
    """LiveKit's request function. `running` gives the ids of the calls that have a process,
    `handler` is the agent file's own, or None to take whatever comes. `on_taken` and `on_refused`
    hear of each answer of ours before LiveKit does.

    Belongs to the parent's event loop: between the look at the slots and the reservation nothing
    else runs, so two offers for the last slot give one call.
    """

    slots: int
    running: Callable[[], Iterable[str]]
    handler: Handler | None = None
    is_warm: Callable[[], bool] = lambda: True
    on_taken: Callable[[], None] = lambda: None
    on_refused: Callable[[JobRequest, Cause], None] = lambda *_: None
    answer_within_seconds: float = ANSWER_WITHIN_SECONDS
    _reserved: set[str] = field(default_factory=set, init=False)

    @property
    def taken(self) -> int:
        """Slots that are in use or promised; a promised call that has just begun counts once."""
        return len(self._reserved.union(self.running()))

    async def answer(self, request: JobRequest) -> None:
        """Take the call, or refuse it at once so that LiveKit can ask another pod."""
        if self.taken >= self.slots:
            await self._refuse(request, Cause.NO_SLOT)
            return
        if not self.is_warm():
            await self._refuse(request, Cause.NOT_WARM)
            return
        self._reserved.add(request.id)
        try:
            await self._ask_handler(request)
        finally:
            # LiveKit's accept() returns when the call has a process, and `running` counts it then.
            self._reserved.discard(request.id)

    async def _ask_handler(self, request: JobRequest) -> None:
        if self.handler is None:
            self.on_taken()
            await request.accept()
            return
        answered = asyncio.Event()
        watched = _watched(request, answered, self.on_taken, self.on_refused)
        handling = asyncio.create_task(_call(self.handler, watched), name="the file's on_request")
        waiting = asyncio.create_task(answered.wait(), name="wait for its answer")
        try:
            await asyncio.wait(
                {handling, waiting},
                timeout=self.answer_within_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if answered.is_set() or handling.done():
                await handling
            else:
                await self._refuse(request, Cause.AGENT_FILE)
        finally:
            waiting.cancel()
            handling.cancel()

    async def _refuse(self, request: JobRequest, cause: Cause) -> None:
        logger.warning("refused", extra={"why": WORDS[cause], **_fields(request, self.slots)})
        self.on_refused(request, cause)
        await request.reject(terminate=False)


async def _call(handler: Handler, request: JobRequest) -> None:
    result: Awaitable[None] | None = handler(request)
    if inspect.isawaitable(result):
        await result


def _watched(
    request: JobRequest,
    answered: asyncio.Event,
    on_taken: Callable[[], None],
    on_refused: Callable[[JobRequest, Cause], None],
) -> JobRequest:
    """The same request, for a handler whose first answer sets the event."""

    async def accept(arguments: JobAcceptArguments) -> None:
        answered.set()
        on_taken()
        await request.accept(
            name=arguments.name,
            identity=arguments.identity,
            metadata=arguments.metadata,
            attributes=arguments.attributes,
        )

    async def reject(terminate: bool) -> None:
        answered.set()
        on_refused(request, Cause.AGENT_FILE)
        await request.reject(terminate=terminate)

    return JobRequest(job=request.job, on_accept=accept, on_reject=reject)


def _fields(request: JobRequest, slots: int) -> dict[str, object]:
    return {"job_id": request.id, "room_id": request.room.sid, "slots": slots}

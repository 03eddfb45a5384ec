"""What goes on beside the agent file's own code for as long as its call lasts.

Every watcher is a task that the call's end cancels. None is in the way of the agent file: the call
is its own, and only a limit, an order of the pod, or a caller who has left ends it from here.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext

from worker.job import limits
from worker.job.ending import Ending, session_of
from worker.job.pod_line import PodLine
from worker.setting_groups import Call
from worker.telemetry.events import CallEnded, CallEnding, CallStarted, Cause

logger = logging.getLogger(__name__)

LOOK_FOR_SESSION_SECONDS = 0.2


class Watch:
    """The watchers of one call. Belongs to the job's event loop."""

    def __init__(self, ctx: JobContext, call: Call, line: PodLine | None) -> None:
        self._ctx, self._call, self._line = ctx, call, line
        self._ending = Ending(ctx, call.farewell)
        self._began_at = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._entrypoint_returned = asyncio.Event()

    def begin(self) -> None:
        """Tell the pod that the call has begun, and watch it until the job shuts down."""
        self._ctx.add_shutdown_callback(self._end)
        self._ctx.room.on("participant_disconnected", self._somebody_left)
        self._start(self._session(), "wait for the session")
        if self._call.longest_seconds is not None:
            self._start(self._length(self._call.longest_seconds), "longest call")
        if self._line is not None:
            self._line.send(CallStarted(job_id=self._ctx.job.id))
            self._start(self._orders(self._line), "orders of the pod")

    def entrypoint_returned(self) -> None:
        """The agent file's own code has nothing more to do but what its session does."""
        self._entrypoint_returned.set()

    async def _session(self) -> None:
        # LiveKit has no event for the start of a session.
        while (session := session_of(self._ctx)) is None:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_FOR_SESSION_SECONDS)
        session.on("close", self._session_closed)
        if self._call.silence_seconds is not None:
            self._start(self._silence(session, self._call.silence_seconds), "silence")

    def _somebody_left(self, participant: rtc.RemoteParticipant) -> None:
        # A session takes seconds to close, and the next caller is there.
        if self._ending.somebody_left(participant) and self._line is not None:
            self._line.send(CallEnding())

    def _session_closed(self, event: CloseEvent) -> None:
        self._ending.session_closed(event)
        if event.reason is CloseReason.PARTICIPANT_DISCONNECTED:
            self._start(self._leave_the_empty_room(), "leave the empty room")

    async def _leave_the_empty_room(self) -> None:
        # LiveKit would keep the job, and so the slot, until the room's departure time-out.
        await self._entrypoint_returned.wait()
        self._ctx.shutdown(Cause.CALLER_LEFT.value)

    async def _length(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._ending.politely(Cause.TOO_LONG)

    async def _silence(self, session: AgentSession[Any], seconds: float) -> None:
        await limits.silence(session, seconds)
        await self._ending.politely(Cause.SILENT)

    async def _orders(self, line: PodLine) -> None:
        async for order in line.orders():
            await self._ending.politely(order.cause)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _end(self, reason: str) -> None:
        """The shutdown callback: the last thing that the pod hears of the call."""
        cause = self._ending.told(reason)
        if self._line is not None:
            seconds = time.monotonic() - self._began_at
            self._line.send(CallEnded(cause=cause, seconds=seconds))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

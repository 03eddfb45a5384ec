"""What goes on beside the agent file's own code for as long as its call lasts.

Every watcher is a task that the call's end cancels. None is in the way of the agent file: the call
is its own, and only a limit, an order of the pod, or a caller who has left ends it from here.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext

from worker.job import sessions
from worker.job.ending import Ending
from worker.job.limits import Silence
from worker.job.pod_line import PodLine
from worker.settings import Settings
from worker.telemetry.events import CallEnded, CallEnding, CallStarted, Cause
from worker.telemetry.session_facts import SessionFacts

logger = logging.getLogger(__name__)


class Watch:
    """The watchers of one call. Belongs to the job's event loop."""

    def __init__(self, ctx: JobContext, settings: Settings, line: PodLine | None) -> None:
        self._ctx, self._call, self._line = ctx, settings.call, line
        self._ending = Ending(ctx, settings.call.farewell)
        self._silence = Silence()
        self._facts: SessionFacts | None = None
        if line is not None:
            self._facts = SessionFacts(line.send, tells_history=settings.telemetry.allow_pii)
        self._began_at = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._entrypoint_returned = asyncio.Event()
        self._known: set[AgentSession[Any]] = set()
        self._open: set[AgentSession[Any]] = set()
        self._end_telling: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """Tell the pod that the call has begun, and watch it until the job shuts down."""
        self._ctx.add_shutdown_callback(self._end)
        self._ctx.room.on("participant_disconnected", self._somebody_left)
        self._end_telling = sessions.tell_starts(self._session_starts)
        if self._call.longest_seconds is not None:
            self._start(self._length(self._call.longest_seconds), "longest call")
        if self._line is not None:
            self._line.send(CallStarted(job_id=self._ctx.job.id))
            self._start(self._orders(self._line), "orders of the pod")

    def entrypoint_returned(self) -> None:
        """The agent file's own code has nothing more to do but what its session does."""
        self._entrypoint_returned.set()

    async def close_sessions(self) -> None:
        """Close what LiveKit has left open of them, before the room goes and the end is told."""
        await sessions.close(self._open)

    def _session_starts(self, session: AgentSession[Any]) -> None:
        self._open.add(session)
        self._ending.session_starts()
        if session in self._known:
            return
        if not self._known and self._call.silence_seconds is not None:
            self._start(self._no_longer_silent_than(self._call.silence_seconds), "silence")
        self._known.add(session)
        session.on("close", partial(self._session_closed, session))
        self._silence.listen(session)
        if self._facts is not None:
            self._facts.listen(session)

    def _somebody_left(self, participant: rtc.RemoteParticipant) -> None:
        # A session takes seconds to close, and the next caller is there.
        if self._ending.somebody_left(participant) and self._line is not None:
            self._line.send(CallEnding())

    def _session_closed(self, session: AgentSession[Any], event: CloseEvent) -> None:
        self._open.discard(session)
        if self._open and self._ctx.room.remote_participants:
            # The call goes on, with those who have the other sessions.
            return
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

    async def _no_longer_silent_than(self, seconds: float) -> None:
        await self._silence.lasts(seconds)
        await self._ending.politely(Cause.SILENT)

    async def _orders(self, line: PodLine) -> None:
        async for order in line.orders():
            await self._ending.politely(order.cause)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _end(self, reason: str) -> None:
        """The shutdown callback: the last thing that the pod hears of the call."""
        self._end_telling()
        cause = self._ending.told(reason)
        if self._line is not None:
            seconds = time.monotonic() - self._began_at
            self._line.send(CallEnded(cause=cause, seconds=seconds))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

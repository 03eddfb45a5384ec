"""What goes on beside the agent file's own code for as long as its call lasts.

Every watcher is a task that the call's end cancels. None is in the way of the agent file: the call
is its own, and only a limit, an order of the pod, or a caller who has left ends it from here.
"""

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from livekit import rtc
from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    CloseReason,
    JobContext,
    UserStateChangedEvent,
)

from voicefleet.job.agent_file import AgentFile
from voicefleet.job.ending import Ending
from voicefleet.job.pod_client import POD_CLIENT, PodClient
from voicefleet.job.prewarm import AGENT_FILE
from voicefleet.providers.prepared import SETTINGS
from voicefleet.settings import Settings
from voicefleet.telemetry.guard import never_raises
from voicefleet.telemetry.messages import CallEnded, CallEnding, CallStarted, Cause
from voicefleet.telemetry.session_facts import SessionFacts

BUSY_AGENT_STATES = ("thinking", "speaking")


class Silence:
    """Whether anybody says anything in any session of a call; a thinking agent is not silent."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._busy: set[tuple[AgentSession[Any], str]] = set()

    def listen(self, session: AgentSession[Any]) -> None:
        """From before its start, for as long as it runs."""
        self._changed.set()
        session.on("user_state_changed", partial(self._user_changed, session))
        session.on("agent_state_changed", partial(self._agent_changed, session))
        session.on("close", partial(self._closed, session))

    async def lasts(self, seconds: float) -> None:
        """Return when it has been silent for so long."""
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(None if self._busy else seconds):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _user_changed(self, session: AgentSession[Any], event: UserStateChangedEvent) -> None:
        self._is(session, "user", is_busy=event.new_state == "speaking")
        # LiveKit calls a caller who has been listening for a while "away".
        if event.new_state != "away":
            self._changed.set()

    def _agent_changed(self, session: AgentSession[Any], event: AgentStateChangedEvent) -> None:
        self._is(session, "agent", is_busy=event.new_state in BUSY_AGENT_STATES)
        self._changed.set()

    def _closed(self, session: AgentSession[Any], _: CloseEvent) -> None:
        # Of these changes LiveKit tells nothing.
        self._is(session, "user", is_busy=False)
        self._is(session, "agent", is_busy=False)
        self._changed.set()

    def _is(self, session: AgentSession[Any], side: str, *, is_busy: bool) -> None:
        if is_busy:
            self._busy.add((session, side))
        else:
            self._busy.discard((session, side))


logger = logging.getLogger(__name__)

# Of the time of the agent file's session-end handler, which runs afterwards. At a drain LiveKit
# alone gives them as long, and then kills the process.
CLOSE_WITHIN_SECONDS = 10.0

Tell = Callable[[AgentSession[Any]], None]


def tell_starts(tell: Tell) -> Callable[[], None]:
    """Tell of every session that is started from now on, right before it starts; returns what ends
    it. A session that is started again is told again.
    """
    start: Any = AgentSession.start

    @functools.wraps(start)
    async def told(session: AgentSession[Any], *arguments: Any, **named: Any) -> Any:
        with never_raises():
            tell(session)
        return await start(session, *arguments, **named)

    def end() -> None:
        AgentSession.start = start  # type: ignore[method-assign]

    AgentSession.start = told  # type: ignore[method-assign,assignment]
    return end


async def close(left: Iterable[AgentSession[Any]]) -> None:
    """Close them, all at once: what each hears and uses last is told by the time this returns.

    LiveKit closes the first session of a job while the room is there, and the others when it has
    gone: beside all shutdown callbacks, so after the call's end is told, and not to their end where
    one of those fails (1.8.9, ipc/job_proc_lazy_main.py, `_shutdown_job`).
    """
    try:
        async with asyncio.timeout(CLOSE_WITHIN_SECONDS):
            # Why one could not be closed is in LiveKit's log.
            await asyncio.gather(*(one.aclose() for one in left), return_exceptions=True)
    except TimeoutError:
        logger.warning("a session did not close in time")


class Watch:
    """The watchers of one call. Belongs to the job's event loop."""

    def __init__(self, ctx: JobContext, settings: Settings, line: PodClient | None) -> None:
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
        self._end_telling = tell_starts(self._session_starts)
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
        await close(self._open)

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

    async def _orders(self, line: PodClient) -> None:
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


# Where the end of a call finds its watch, in `JobProcess.userdata`.
WATCH = "voicefleet.watch"


async def answer(ctx: JobContext) -> None:
    """Run the agent file's entrypoint, watched for as long as the call lasts."""
    settings: Settings = ctx.proc.userdata[SETTINGS]
    watch = Watch(ctx, settings, ctx.proc.userdata.get(POD_CLIENT))
    ctx.proc.userdata[WATCH] = watch
    watch.begin()
    await _hosted(ctx).entrypoint(ctx)
    watch.entrypoint_returned()


async def end(ctx: JobContext) -> None:
    """Close the call's last sessions, then run the agent file's session-end handler, if it has one.

    LiveKit has closed the first session by now, and the room is still there.
    """
    watch: Watch = ctx.proc.userdata[WATCH]
    await watch.close_sessions()
    handler = _hosted(ctx).on_session_end
    if handler is None:
        return
    result = handler(ctx)
    if inspect.isawaitable(result):
        await result


def _hosted(ctx: JobContext) -> AgentFile:
    hosted: AgentFile = ctx.proc.userdata[AGENT_FILE]
    return hosted

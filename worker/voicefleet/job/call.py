"""The call: the agent file's entrypoint, supervised from its first line to the end of the job.

`answer` and `end` are what LiveKit runs of a job. Beside the agent file's own code run tasks that
end with the call. None of them is in its way: the call is the agent file's own, and only a limit,
an order of the pod, or a caller who has left ends it from here.
"""

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

from livekit import rtc
from livekit.agents import (
    Agent,
    AgentSession,
    CloseEvent,
    CloseReason,
    JobContext,
    JobExecutorType,
    get_job_context,
)

from voicefleet.conversation.record import Recorder
from voicefleet.job import descendants, importing, resume, rooms
from voicefleet.job.agent_file import AgentFile
from voicefleet.job.ending import Ending
from voicefleet.job.pod_client import POD_CLIENT, PodClient
from voicefleet.job.prewarm import AGENT_FILE
from voicefleet.job.resume import Resumption
from voicefleet.job.silence import Silence
from voicefleet.livekit_compat import session as livekit_session
from voicefleet.providers.prepared import SETTINGS
from voicefleet.settings import Settings
from voicefleet.telemetry import call_ids
from voicefleet.telemetry.messages import (
    Alive,
    CallEnded,
    CallEnding,
    CallStarted,
    Cause,
    Kept,
    Resumed,
    SessionsOpen,
)
from voicefleet.telemetry.session_facts import SessionFacts

logger = logging.getLogger(__name__)

# Where `end` finds the supervisor of the call, in `JobProcess.userdata`.
SUPERVISOR = "voicefleet.call_supervisor"

# Taken from the time of the agent file's session-end handler, which runs afterwards. At the end of
# a drain LiveKit alone gives both no more than that, and then kills the process.
CLOSE_WITHIN_SECONDS = 10.0

# How often the pod is told that the event loop turns.
ALIVE_EVERY_SECONDS = 1.0

# A session that knows its caller has closed by then.
STILL_EMPTY_SECONDS = 5.0

# From its start, a session knows a caller who is there by then: LiveKit tells of one who publishes
# nothing up to 3 s late.
MEETS_ITS_CALLER_SECONDS = 3.5


async def answer(ctx: JobContext) -> None:
    """Run the agent file's entrypoint, supervised for as long as the call lasts."""
    settings: Settings = ctx.proc.userdata[SETTINGS]
    supervisor = CallSupervisor(ctx, settings, ctx.proc.userdata.get(POD_CLIENT))
    ctx.proc.userdata[SUPERVISOR] = supervisor
    supervisor.begin()
    try:
        await supervisor.follow_the_pod()
        await supervisor.run(_agent_file(ctx), settings)
    except asyncio.CancelledError:
        # LiveKit takes an entrypoint that was cancelled for a job that was: it would run neither
        # the session-end handler nor the shutdown callbacks (1.8.9, ipc/job_proc_lazy_main.py,
        # `_shutdown_job`).
        if not supervisor.cancels_entrypoint:
            raise
    finally:
        supervisor.entrypoint_ended()


async def end(ctx: JobContext) -> None:
    """Close the sessions that are still open, then run the agent file's session-end handler, if it
    has one.

    LiveKit has closed the first session by now, and the room is still there.
    """
    supervisor: CallSupervisor = ctx.proc.userdata[SUPERVISOR]
    supervisor.job_ends()
    await supervisor.close_sessions()
    handler = _agent_file(ctx).on_session_end if supervisor.runs_the_file else None
    try:
        result = handler(ctx) if handler is not None else None
        if inspect.isawaitable(result):
            await result
    finally:
        await supervisor.free_the_room()


async def simulation_ended(simulation: Any) -> None:
    """Run the agent file's `on_simulation_end`, where a simulation of LiveKit's has ended."""
    handler = _agent_file(get_job_context()).on_simulation_end
    result = handler(simulation) if handler is not None else None
    if inspect.isawaitable(result):
        await result


def _agent_file(ctx: JobContext) -> AgentFile:
    loaded: AgentFile = ctx.proc.userdata[AGENT_FILE]
    return loaded


class CallSupervisor:
    """Watches one call, and ends it where it must. Belongs to the job's event loop."""

    def __init__(self, ctx: JobContext, settings: Settings, pod: PodClient | None) -> None:
        self._ctx, self._call, self._pod = ctx, settings.call, pod
        self._ending = Ending(ctx, settings.call.farewell)
        self._silence = Silence()
        self._facts: SessionFacts | None = None
        self._recorder: Recorder | None = None
        self._resumption: Resumption | None = None
        if pod is not None:
            self._facts = SessionFacts(pod.send, tells_history=settings.telemetry.allow_pii)
            if settings.call.is_resumed is not False:
                self._recorder = Recorder(pod.offer, _agent_file(ctx).save_call)
        self._began_at = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._program_end: asyncio.Task[None] | None = None
        self._entrypoint: asyncio.Task[Any] | None = None
        self._entrypoint_ended = asyncio.Event()
        self.cancels_entrypoint = False
        self._was_entered = False
        # Whether a caller was in the room at the beginning; the agent may meet nobody all the same.
        self._was_called = False
        # Of the room: a caller has joined, or it has gone.
        self._has_news = asyncio.Event()
        # One who is back is dispatched for once, whoever notices.
        self._dispatching = asyncio.Lock()
        self._dispatches = set[asyncio.Task[None]]()
        self._known: set[AgentSession[Any]] = set()
        self._open: set[AgentSession[Any]] = set()
        self._stop_watching: Callable[[], None] = lambda: None
        self._log = ExitStack()

    def begin(self) -> None:
        """Tell the pod that the call has begun, and watch it until the job shuts down. Call it in
        the task that runs the agent file's entrypoint.
        """
        self._entrypoint = asyncio.current_task()
        self._ctx.add_shutdown_callback(self._end)
        self._ctx.room.on("participant_connected", self._participant_joined)
        self._ctx.room.on("participant_disconnected", self._participant_left)
        self._ctx.room.on("disconnected", lambda *_: self._has_news.set())
        self._stop_watching = livekit_session.watch_starts(self._session_starts, self._prepared)
        if call_ids.generation(self._ctx.job.id) == 1:
            self._start(self._look_for_the_caller(), "look for the caller")
        if self._call.longest_seconds is not None:
            self._start(self._end_after(self._call.longest_seconds), "longest call")
        if self._pod is not None:
            self._pod.send(CallStarted(job_id=self._ctx.job.id))
            self._start(self._pod.deliver(), "facts for the pod")
            self._start(self._show_life(self._pod), "the loop turns")
        # On a thread, as in LiveKit's console, the process is not the call's own.
        if self._ctx.proc.executor_type is JobExecutorType.PROCESS:
            self._program_end = asyncio.create_task(
                descendants.end_with_the_loop(), name="end the call's programs"
            )
            # LiveKit closes its handler when the loop has ended.
            self._log.enter_context(importing.log_kept())
            self._program_end.add_done_callback(lambda _: self._log.close())

    async def follow_the_pod(self) -> None:
        """Obey the pod's orders from now on. Where the call has lost a job before, what was said
        comes first.
        """
        if (pod := self._pod) is None:
            return
        if call_ids.generation(self._ctx.job.id) > 1:
            remembered = await pod.conversation()
            since = time.monotonic()

            def resumed() -> None:
                seconds = remembered.seconds + time.monotonic() - since
                pod.send(Resumed(seconds=seconds))

            self._resumption = Resumption(remembered, self._call.apology, resumed)
        self._start(self._obey(pod), "orders of the pod")

    @property
    def runs_the_file(self) -> bool:
        """Not where the call takes its jobs along: then nothing of the file's runs any more."""
        return self._resumption is None or not self._resumption.is_last

    def job_ends(self) -> None:
        """A process that dies from now on leaves nobody alone."""
        self._tell_ending()

    async def run(self, hosted: AgentFile, settings: Settings) -> None:
        """The agent file's own code: its entrypoint, or what it has for a call that goes on."""
        resumption = self._resumption
        # Not LiveKit's: a file that LiveKit alone runs reads getattr(ctx, "is_resumed", False).
        self._ctx.is_resumed = resumption is not None  # type: ignore[attr-defined]
        if resumption is not None:
            resume.dial_nobody_again(self._ctx)
            self._was_called = await resume.is_caller_there(self._ctx)
        if resumption is None:
            await hosted.entrypoint(self._ctx)
        elif resumption.had_caller and not self._was_called:
            self._tell_ending()
            self._ending.nobody_is_there(Cause.CALLER_LEFT)
        elif resumption.is_last:
            await resume.take_leave(self._ctx, settings)
        elif hosted.resume_call is not None and (saved := resumption.saved) is not None:
            resumption.restores = False
            await hosted.resume_call(self._ctx, saved)
        else:
            with resumption.opening():
                await hosted.entrypoint(self._ctx)

    def entrypoint_ended(self) -> None:
        """The agent file's own code is done, but for what its sessions do."""
        self._entrypoint_ended.set()

    async def free_the_room(self) -> None:
        """Leave it as one in which a caller who comes back, or has, is answered again."""
        if self._call.deletes_empty_room and self._ending.was_the_callers:
            async with self._dispatching:
                if not rooms.callers(self._ctx.room):
                    self._has_news.clear()
                await rooms.free(self._ctx, self._has_news)

    async def close_sessions(self) -> None:
        """Close those that LiveKit leaves open, before the room goes and the end is told."""
        await close(self._open)

    async def _prepared(self, session: AgentSession[Any], agent: Agent) -> Agent:
        return agent if self._resumption is None else await self._resumption.prepare(session, agent)

    def _session_starts(self, session: AgentSession[Any]) -> None:
        self._open.add(session)
        self._tell_sessions()
        self._ending.session_starts()
        if session in self._known:
            return
        if not self._known:
            self._start(self._end_if_they_left_before(), "left before")
            self._start(self._end_if_nobody_comes(), "nobody comes")
            if self._call.silence_seconds is not None:
                self._start(self._end_after_silence(self._call.silence_seconds), "silence")
        self._known.add(session)
        session.on("close", partial(self._session_closed, session))
        self._silence.listen(session)
        if self._recorder is not None:
            self._recorder.listen(session)
        if self._facts is not None:
            self._facts.listen(session)

    def _participant_left(self, participant: rtc.RemoteParticipant) -> None:
        self._was_entered = self._was_entered or livekit_session.is_caller(participant)
        # The slot is free from now on: a session takes seconds to close, and the next caller waits.
        if not self._ending.somebody_left(participant):
            return
        self._tell_ending()
        self._start(self._end_if_still_empty(), "end if still empty")

    def _participant_joined(self, participant: rtc.RemoteParticipant) -> None:
        if not livekit_session.is_caller(participant):
            return
        self._was_entered = True
        self._has_news.set()
        self._remember_the_caller()
        if self._ending.is_for_absence:
            # What the file does at the end of a call may take a minute.
            self._dispatch_again()

    def _remember_the_caller(self) -> None:
        if self._pod is not None and self._recorder is not None:
            self._pod.send(Kept(kind="caller", data="true"))

    def _dispatch_again(self) -> None:
        async def dispatch() -> None:
            async with self._dispatching:
                await rooms.dispatch_again(self._ctx)

        if self._call.deletes_empty_room:
            self._dispatches.add(asyncio.create_task(dispatch(), name="dispatch again"))

    def _session_closed(self, session: AgentSession[Any], event: CloseEvent) -> None:
        self._open.discard(session)
        self._tell_sessions()
        has_left = event.reason is CloseReason.PARTICIPANT_DISCONNECTED
        is_somebody_there = bool(rooms.callers(self._ctx.room))
        if has_left and (self._ending.has_emptied or not is_somebody_there):
            self._start(self._end_for_absence(), "end for absence")
        if is_somebody_there and (self._open or has_left):
            # The call goes on: with those who have the other sessions, or with one whom the agent
            # file may serve next. Without a session the pod looks after it.
            return
        self._ending.session_closed(event)

    async def _look_for_the_caller(self) -> None:
        # One who hangs up before the agent is in the room is seen by nobody there.
        self._was_called = await rooms.has_caller(self._ctx) is True
        if self._was_called:
            self._remember_the_caller()

    async def _end_if_they_left_before(self) -> None:
        await asyncio.sleep(MEETS_ITS_CALLER_SECONDS)
        end_with_their_callers = map(livekit_session.ends_with_its_caller, self._open)
        if self._was_called and not self._was_entered and all(end_with_their_callers):
            await self._end_if_all_wait(Cause.CALLER_LEFT)

    async def _end_if_nobody_comes(self) -> None:
        # The session waits, and with it the slot, until LiveKit closes the room after minutes.
        # Without a session the pod looks after the call.
        passed_seconds = time.monotonic() - self._began_at
        await asyncio.sleep(self._call.empty_room_seconds - passed_seconds)
        if not self._was_entered and not rooms.is_prepared(self._ctx):
            await self._end_if_all_wait(Cause.NOBODY_CAME)

    async def _end_if_all_wait(self, cause: Cause) -> None:
        """End the call for this if all its sessions wait for a caller, and nobody is there."""
        if not self._open or not all(livekit_session.is_waiting(one) for one in self._open):
            return
        is_empty = await rooms.has_caller(self._ctx) is False
        # Somebody may have come while LiveKit was asked.
        if is_empty and not self._was_entered and self._ending.cause is None:
            self._tell_ending()
            self._nobody_is_there(cause)

    async def _end_if_still_empty(self) -> None:
        # A session that had not met its caller yet waits for the next one, and does not close.
        await asyncio.sleep(STILL_EMPTY_SECONDS)
        if not rooms.callers(self._ctx.room):
            await self._end_for_absence()

    async def _end_for_absence(self) -> None:
        """End the call whose caller has left, unless the agent file serves the next one. LiveKit
        would keep the job, and so the slot, until the room's departure time-out.
        """
        await self._entrypoint_ended.wait()
        if rooms.callers(self._ctx.room):
            if not self._open:
                # For one who is back, the file may be about to open a session.
                await asyncio.sleep(STILL_EMPTY_SECONDS)
            if self._open:
                return
        self._ending.nobody_is_there(Cause.CALLER_LEFT)
        if rooms.callers(self._ctx.room):
            self._dispatch_again()

    def _nobody_is_there(self, cause: Cause) -> None:
        """End the call for this, whatever the entrypoint waits for."""
        self._ending.nobody_is_there(cause)
        if self._entrypoint is not None and not self._entrypoint_ended.is_set():
            self.cancels_entrypoint = True
            self._entrypoint.cancel()

    def _tell_ending(self) -> None:
        if self._pod is not None:
            self._pod.send(CallEnding())

    def _tell_sessions(self) -> None:
        if self._pod is not None:
            self._pod.send(SessionsOpen(count=len(self._open)))

    async def _end_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._ending.politely(Cause.TOO_LONG)

    async def _end_after_silence(self, seconds: float) -> None:
        await self._silence.lasts(seconds)
        await self._ending.politely(Cause.SILENT)

    async def _show_life(self, pod: PodClient) -> None:
        while True:
            pod.send(Alive())
            await asyncio.sleep(ALIVE_EVERY_SECONDS)

    async def _obey(self, pod: PodClient) -> None:
        async for order in pod.orders():
            if order.cause in (Cause.CALLER_LEFT, Cause.NOBODY_CAME):
                self._nobody_is_there(order.cause)
            else:
                await self._ending.politely(order.cause)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _end(self, reason: str) -> None:
        """The shutdown callback: tell the pod why the call ended, and wait until it knows."""
        self._stop_watching()
        cause = self._ending.told(reason)
        if self._pod is not None:
            seconds = time.monotonic() - self._began_at
            self._pod.send(CallEnded(cause=cause, seconds=seconds))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._dispatches, return_exceptions=True)
        if self._pod is not None:
            await self._pod.flush()


async def close(sessions: Iterable[AgentSession[Any]]) -> None:
    """Close them, all at once: what each hears and uses last is told by the time this returns.

    LiveKit closes the first session of a job while the room is there, and the others when it has
    gone: beside all shutdown callbacks, so after the call's end is told, and not to their end where
    one of those fails (1.8.9, ipc/job_proc_lazy_main.py, `_shutdown_job`).
    """
    try:
        async with asyncio.timeout(CLOSE_WITHIN_SECONDS):
            # Why one could not be closed is in LiveKit's log.
            await asyncio.gather(*(one.aclose() for one in sessions), return_exceptions=True)
    except TimeoutError:
        logger.warning("a session did not close in time")

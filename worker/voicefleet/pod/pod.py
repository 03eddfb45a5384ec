"""The pod, from top to bottom: what it is made of, how it starts, serves, drains and stops.

`build` wires the parts, each with what it needs; `run` is the life of the pod.
"""

import asyncio
import contextlib
import logging
import math
import signal
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from livekit.agents import AgentServer

from voicefleet import command, errors
from voicefleet.job import call, prewarm
from voicefleet.job.agent_file import AgentFile
from voicefleet.livekit_compat import server as livekit_server
from voicefleet.livekit_compat.kill_reasons import KillReasons
from voicefleet.pod import cgroup, http, reach, room_watch, slots, telemetry
from voicefleet.pod.admission import Admission
from voicefleet.pod.calls import CallTable
from voicefleet.pod.job_processes import LONGEST_PAUSE_SECONDS, JobProcesses
from voicefleet.pod.load import LoadMeter
from voicefleet.pod.phase import PodState
from voicefleet.pod.reaper import Reaper
from voicefleet.pod.reconnect import PacedSession, Reconnect
from voicefleet.pod.resume import ResumePolicy
from voicefleet.pod.room_watch import RoomWatch
from voicefleet.pod.telemetry import PodTelemetry
from voicefleet.providers import turns
from voicefleet.settings import Settings, for_jobs
from voicefleet.settings.pod import FAREWELL_WITHIN_SECONDS
from voicefleet.settings.pod import Pod as PodSettings
from voicefleet.telemetry import pod_traces, reports
from voicefleet.telemetry.call_report import CallTotals
from voicefleet.telemetry.messages import Cause
from voicefleet.telemetry.metrics import PodInfo

logger = logging.getLogger(__name__)

BYTES_PER_MB = 1024 * 1024

# LiveKit weighs each call on a thread of the loop's pool every 5 s, and reads the load there before
# each answer: a weighing that hangs in the kernel must not delay an answer.
THREADS_PER_SLOT = 2
LEAST_THREADS = 8


@dataclass(frozen=True, slots=True)
class Pod:
    """The parts of a pod that its life is about; `server` is the agent file's own."""

    server: AgentServer
    state: PodState
    table: CallTable
    processes: JobProcesses
    reconnect: Reconnect
    telemetry: PodTelemetry
    reaper: Reaper
    rooms: RoomWatch


def build(
    settings: Settings, hosted: AgentFile, socket: Path | None = None, *, devmode: bool = False
) -> Pod:
    """A pod that runs the agent file's own server. Job processes connect at `socket`; without one
    they are on their own, as under LiveKit's console. In `devmode` only slots limit the calls.
    """
    turns.register(settings.providers)
    server, agent_name = hosted.server, settings.agent.name or hosted.agent_name

    # What this pod may use, and so how many calls it takes and when it is full.
    capacity = _capacity(settings.pod, devmode=devmode)
    meter = capacity.meter
    table = CallTable(
        capacity.slots,
        finishing_budget=slots.finishing_budget(capacity.slots),
        agent_name=agent_name,
        new_totals=partial(CallTotals, keeps_history=settings.telemetry.allow_pii),
    )
    state = PodState(on_started=partial(_say_ready, agent_name, capacity.slots))
    reconnect = Reconnect(settings.livekit.retries)

    # What the pod shows of its calls.
    shown = PodTelemetry(
        PodInfo(version("voicefleet"), agent_name, version("livekit-agents")),
        partial(telemetry.reading, table, state, meter, reconnect),
        table.pids,
        pod_traces.begin(settings.telemetry),
        reports.begin(settings.telemetry),
    )

    # Who takes calls, and who follows them.
    reaper = Reaper(state)
    wants_resume = settings.call.is_resumed
    resume = ResumePolicy(
        table,
        is_wanted=not settings.livekit.is_cloud if wants_resume is None else wants_resume,
        most_a_minute=settings.call.most_resumes_a_minute,
        launch=partial(livekit_server.launch_again, server),
    )
    processes = JobProcesses(
        table,
        state,
        KillReasons(),
        shown,
        on_freed=partial(livekit_server.report_load_now, server),
        on_gone=reaper.job_ended,
        resume=resume,
        kill=partial(livekit_server.kill_job, server),
        unresponsive_seconds=settings.call.unresponsive_seconds,
    )
    rooms = RoomWatch(table, processes.end_call, settings.call.empty_room_seconds)
    admission = Admission(
        *(table, state, shown, hosted.on_request, lambda: meter.parts().is_harmful),
        handler_runs=reaper.agent_file_runs,
    )

    def load_now() -> float:
        """Called on a thread of LiveKit's, whose load task one exception would end for good."""
        if not state.can_take_calls:
            return settings.pod.load_threshold
        return meter.load(table.launched_slots, has_calls=len(table) > 0)

    # The agent file's server, with our settings and hooks.
    shutdown_seconds = settings.pod.shutdown_seconds(hosted.shutdown_timeout_seconds)
    if replaced := livekit_server.replaced_options(server, settings.pod.shutdown_timeout_seconds):
        logger.warning(
            "options of the agent file's server are replaced", extra={"options": replaced}
        )
    if socket is None:
        setup = partial(prewarm.load, settings=settings)
    else:
        setup = partial(prewarm.prewarm, settings=for_jobs(settings), pod=socket)
    livekit_server.configure(
        server,
        _options(settings, agent_name, capacity, shutdown_seconds),
        livekit_server.Hooks(
            entrypoint=call.answer,
            on_session_end=call.end,
            on_simulation_end=call.simulation_ended if hosted.on_simulation_end else None,
            setup=setup,
            on_request=admission.answer,
            load=load_now,
        ),
    )

    # What LiveKit tells of itself.
    def started() -> None:
        state.is_serving = True
        livekit_server.wrap_http_session(server, partial(PacedSession, pace=reconnect))
        livekit_server.keep_spare_process(server)
        livekit_server.watch_processes(server, table.launched, processes.closed)
        livekit_server.let_drain_yield(server)

    def registered(*_: object) -> None:
        if state.is_registered:
            shown.metrics.reconnected()
        state.registered()
        reconnect.registered()

    server.on("worker_started", started)
    server.on("worker_registered", registered)
    return Pod(server, state, table, processes, reconnect, shown, reaper, rooms)


def _say_ready(agent_name: str, slots: int) -> None:
    to_call_it = command.line("call", *filter(None, [agent_name]), "--say", "Hello.")
    said = {"agent_name": agent_name, "slots": slots, "to_call_it": to_call_it}
    logger.info("ready for calls", extra=said)


async def run(settings: Settings, hosted: AgentFile, *, devmode: bool = False) -> None:
    """Serve calls until a signal or /drainz says stop, then let every call end; in `devmode` end
    them at once.

    :raises LiveKitError: if LiveKit does not come, goes for good, or refuses the key.
    :raises PortError: if the port of the endpoints is taken.
    """
    # Only this user may enter the folder of the socket.
    with tempfile.TemporaryDirectory(prefix="voicefleet-") as folder, _signals() as told_to_stop:
        socket = Path(folder) / "pod.sock"
        pod = build(settings, hosted, socket, devmode=devmode)
        threads = max(LEAST_THREADS, THREADS_PER_SLOT * pod.table.slots)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads, "pod"))
        async with (
            pod.telemetry.showing(),
            _endpoints(pod, settings, told_to_stop),
            pod.processes.listening(socket),
            pod.reaper.reaping(),
            room_watch.asking(settings.livekit) as callers_in,
            pod.rooms.watching(callers_in),
        ):
            # Wait for LiveKit, unless told to stop meanwhile.
            waiting = reach.wait(settings.livekit)
            try:
                if await _unless(told_to_stop, waiting, "wait for LiveKit"):
                    await _serve_until(told_to_stop, pod, settings, devmode=devmode)
            finally:
                pod.state.is_stopped = True


async def _serve_until(
    told_to_stop: asyncio.Event, pod: Pod, settings: Settings, *, devmode: bool
) -> None:
    # Serve. LiveKit's run() ends only with an error or after aclose().
    serving = asyncio.create_task(_serve(pod.server, settings, devmode=devmode), name="serve")
    stopping = asyncio.create_task(told_to_stop.wait(), name="wait for a signal")
    refused = asyncio.create_task(pod.reconnect.given_up.wait(), name="wait for a last refusal")
    try:
        await asyncio.wait({serving, stopping, refused}, return_when=asyncio.FIRST_COMPLETED)

        # Told to stop, or LiveKit is gone: take nothing new, let calls end. A start cannot drain.
        has_begun = pod.state.is_serving or not serving.done()
        if not pod.state.is_serving and pod.state.prewarm_failures:
            serving.cancel()
        elif has_begun and not devmode:
            pod.state.begin_drain(settings.pod.drain_timeout_seconds)
            await _drain(pod, settings)
    finally:
        stopping.cancel()
        refused.cancel()
        await pod.server.aclose()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    if pod.reconnect.given_up.is_set():
        raise _gone(settings, "it refuses to register this pod")


async def _serve(server: AgentServer, settings: Settings, *, devmode: bool) -> None:
    with livekit_server.hidden_connection_error():
        try:
            await server.run(devmode=devmode)
        except RuntimeError as error:
            if not livekit_server.is_connection_failure(error):
                raise
            raise _gone(settings, str(error)) from error


async def _drain(pod: Pod, settings: Settings) -> None:
    logger.info("draining", extra={"calls": pod.table.taken})
    try:
        async with asyncio.timeout(settings.pod.drain_timeout_seconds):
            await pod.server.drain(timeout=None)
            # LiveKit sees the end of a process before its last words are read here.
            await pod.table.drained()
    except TimeoutError:
        # What is still on is ended with words, and each agent file's own end is waited for.
        logger.warning("drain deadline reached", extra={"calls": pod.table.taken})
        handlers_seconds = settings.pod.session_end_timeout_seconds
        await pod.processes.end_calls(Cause.DRAINED, FAREWELL_WITHIN_SECONDS + handlers_seconds)


@asynccontextmanager
async def _endpoints(
    pod: Pod, settings: Settings, told_to_stop: asyncio.Event
) -> AsyncIterator[None]:
    """The probes, /metrics and /drainz, from before the start to after the drain."""

    def begin_drain() -> None:
        pod.state.begin_drain(settings.pod.drain_timeout_seconds)
        told_to_stop.set()

    async def inference_is_alive() -> bool:
        return livekit_server.inference_is_alive(pod.server)

    token = settings.pod.drain_token
    app = http.application(
        pod.state,
        pod.table,
        begin_drain,
        inference_is_alive=inference_is_alive,
        drain_token=token.get_secret_value() if token else None,
        scrape=pod.telemetry.scrape,
    )
    async with AsyncExitStack() as stack:
        try:
            serving = http.serving(app, settings.pod.http_host, settings.pod.http_port)
            port = await stack.enter_async_context(serving)
        except OSError as error:
            raise port_taken(settings, error) from error
        logger.info("endpoints listen", extra={"host": settings.pod.http_host, "port": port})
        yield


def require_time_to_stop(pod: PodSettings, hosted: AgentFile) -> None:
    """:raises SettingsError: if the agent file gives its shutdown callbacks more time than the
    grace period has.
    """
    given = pod.shutdown_seconds(hosted.shutdown_timeout_seconds)
    longest_seconds, grace = pod.stop_seconds(given), pod.grace_period_seconds
    if grace is not None and longest_seconds > grace:
        raise errors.SettingsError(
            [
                (
                    f"the agent file gives its shutdown callbacks {given:g} s, so that a stop takes"
                    f" up to {longest_seconds:.0f} s, and the grace period is {grace} s",
                    f"raise terminationGracePeriodSeconds to {math.ceil(longest_seconds)}"
                    " (the chart's drain.shutdownSeconds does), or set"
                    " VOICEFLEET_SHUTDOWN_TIMEOUT_SECONDS",
                )
            ]
        )


def port_taken(settings: Settings, error: OSError) -> errors.PortError:
    address = f"{settings.pod.http_host}:{settings.pod.http_port}"
    return errors.PortError(
        f"the endpoints cannot listen on {address}: {error.strerror}",
        fix="set VOICEFLEET_HTTP_PORT to a free port (0 picks one), or stop who has it",
    )


def _gone(settings: Settings, why: str) -> errors.LiveKitError:
    return errors.LiveKitError(
        f"LiveKit at {settings.livekit.url} is gone: {why}",
        fix="see whether LiveKit runs, and whether it still knows LIVEKIT_API_KEY",
    )


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None], name: str) -> bool:
    """Do the work, unless `stop` comes first; True when it was done."""
    doing = asyncio.create_task(work, name=name)
    stopping = asyncio.create_task(stop.wait(), name=f"stop instead of: {name}")
    await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not doing.done():
        doing.cancel()
        return False
    await doing
    return True


@contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """An event that the first SIGTERM or SIGINT sets; further ones change nothing, so that a
    supervisor which repeats itself drops no call.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the pod may use, decided once. The memory of a call is PSS in bytes; its limit is None
    where a call has none.
    """

    slots: int
    meter: LoadMeter
    warn_bytes: int
    limit_bytes: int | None


def _capacity(pod: PodSettings, *, devmode: bool) -> Capacity:
    source = cgroup.find()
    limits = source.limits()
    limits = replace(limits, memory_bytes=pod.memory_limit_bytes or limits.memory_bytes)
    share = cgroup.share_of(limits, pod.cpu_request_cores, cgroup.usable_cores())
    cost = slots.VIDEO if pod.has_video else slots.VOICE
    decided = slots.decide(pod.slots, share.cpu_cores, share.memory_bytes, cost=cost)
    logger.info("slots decided", extra={"slots": decided.slots, "reason": decided.reason})

    limit_bytes = pod.call_memory_limit_bytes or slots.call_memory_limit_bytes(
        share.memory_bytes, decided.slots
    )
    warn_bytes = slots.call_memory_warn_bytes(pod.call_memory_warn_bytes, limit_bytes)
    if limit_bytes is None and share.memory_bytes is not None:
        fix = (
            "raise the pod's memory, lower VOICEFLEET_SLOTS, or set"
            " VOICEFLEET_CALL_MEMORY_LIMIT_BYTES"
        )
        logger.warning(
            "a call has no memory limit of its own: one that leaks may end them all",
            extra={"pod_bytes": share.memory_bytes, "fix": fix},
        )
    else:
        said = {"warn_bytes": warn_bytes, "limit_bytes": limit_bytes}
        logger.info("memory of a call decided", extra=said)
    # A laptop is busy with other things than calls.
    read = cgroup.nothing if devmode else source.reading
    meter = LoadMeter(decided.slots, pod.load_threshold, share, read)
    return Capacity(decided.slots, meter, warn_bytes, limit_bytes)


def _options(
    settings: Settings, agent_name: str, capacity: Capacity, shutdown_seconds: float
) -> livekit_server.Options:
    pod, livekit = settings.pod, settings.livekit
    return livekit_server.Options(
        url=livekit.url,
        api_key=livekit.api_key,
        api_secret=livekit.secret,
        agent_name=agent_name,
        max_retry=livekit.retries,
        load_threshold=pod.load_threshold,
        # A warm process for every free slot: no call waits for one. LiveKit also takes this number
        # for the calls that fill an idle pod (1.8.9, worker.py, _get_effective_load), so with any
        # other it would report itself full in a burst while slots are free.
        idle_processes=capacity.slots,
        initialize_timeout_seconds=pod.prewarm_timeout_seconds + LONGEST_PAUSE_SECONDS,
        drain_timeout_seconds=pod.drain_timeout_seconds,
        session_end_timeout_seconds=pod.session_end_timeout_seconds,
        shutdown_timeout_seconds=shutdown_seconds,
        memory_warn_mb=capacity.warn_bytes / BYTES_PER_MB,
        memory_limit_mb=(capacity.limit_bytes or 0) / BYTES_PER_MB,
        preload_modules=("voicefleet.job.preload",),
        log_level=settings.logs.level,
    )

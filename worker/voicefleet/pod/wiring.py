"""The pod, built from settings and the agent file: LiveKit's `AgentServer`, and what we add."""

import logging
from dataclasses import dataclass, replace
from functools import partial

from livekit.agents import AgentServer

from voicefleet.job import call, prewarm
from voicefleet.job.agent_file import AgentFile
from voicefleet.livekit_compat.kill_reasons import KillReasons
from voicefleet.livekit_compat.server import report_load_now
from voicefleet.pod import cgroup, load, slots, telemetry
from voicefleet.pod import reconnect as reconnect_module
from voicefleet.pod.admission import Admission
from voicefleet.pod.calls import Call, PodState
from voicefleet.pod.job_processes import LONGEST_PAUSE_SECONDS, Processes
from voicefleet.pod.reconnect import Reconnect
from voicefleet.pod.telemetry import PodTelemetry
from voicefleet.providers import turns
from voicefleet.settings import Settings
from voicefleet.settings.pod import Pod as PodSettings

BYTES_PER_MB = 1024 * 1024

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pod:
    """LiveKit's worker, and what the pod knows of itself. Run it with `voicefleet.pod.pod`."""

    server: AgentServer
    state: PodState
    processes: Processes
    reconnect: Reconnect
    telemetry: PodTelemetry


def build(settings: Settings, hosted: AgentFile) -> Pod:
    """A pod that hosts this agent file."""
    turns.register(settings.providers)

    # What this pod may use, and so how many calls it takes and when it is full.
    source = cgroup.find()
    limits = source.limits()
    told = replace(limits, memory_bytes=settings.pod.memory_limit_bytes or limits.memory_bytes)
    share = cgroup.share_of(told, settings.pod.cpu_request_cores, cgroup.usable_cores())
    decided = slots.decide(settings.pod.slots, share.cpu_cores, share.memory_bytes)
    logger.info("slots decided", extra={"slots": decided.slots, "reason": decided.reason})
    meter = load.LoadMeter(decided.slots, settings.pod.load_threshold, share, source.reading)
    call_limit_bytes = settings.pod.call_memory_limit_bytes or slots.call_memory_limit_bytes(
        share.memory_bytes, decided.slots
    )

    memory = _call_memory(settings.pod, call_limit_bytes, share)

    server = _server(settings, hosted, decided.slots, memory)
    state = PodState(
        decided.slots,
        calls=lambda: processes.without_leaving(_calls(server)) if state.is_serving else (),
    )
    processes = Processes(state, KillReasons(), on_freed=partial(report_load_now, server))

    # An offer is taken by a pod with a free slot, and a process to fill it.
    def is_warm() -> bool:
        return processes.warm_count > 0 or state.prewarm_failures == 0

    admission = Admission(
        decided.slots,
        running=lambda: [call.id for call in state.calls()],
        handler=hosted.on_request,
        is_warm=is_warm,
    )

    def load_now() -> float:
        sampled = meter.load(state.call_count)
        return sampled if is_warm() else settings.pod.load_threshold

    server.load_fnc = load_now
    server.rtc_session(
        call.answer,
        agent_name=settings.agent.name or hosted.agent_name,
        type=hosted.server_type,
        on_request=admission.answer,
        on_session_end=call.end,
    )

    # What LiveKit tells of itself.
    reconnect = Reconnect(settings.livekit.retries)

    # What the pod shows of its calls.
    agent_name = settings.agent.name or hosted.agent_name
    reading = partial(telemetry.of, processes, meter, load_now, reconnect)
    shown = telemetry.telemetry(settings.telemetry, agent_name, server, processes, reading)
    processes.on_fact, processes.on_over = shown.observe, shown.call_over
    processes.on_wrong = shown.metrics.event_rejected
    admission.on_taken, admission.on_refused = shown.metrics.call_taken, shown.refused

    def started() -> None:
        state.is_serving = True
        reconnect_module.pace(server, reconnect)

    def registered(*_: object) -> None:
        if state.is_registered:
            shown.metrics.reconnected()
        state.is_registered = True
        reconnect.registered()

    server.on("worker_started", started)
    server.on("worker_registered", registered)
    return Pod(server, state, processes, reconnect, shown)


@dataclass(frozen=True, slots=True)
class CallMemory:
    """PSS of a call in MiB, as LiveKit wants it: what it is warned of and ended for; 0 is never."""

    warn_mb: float
    limit_mb: float


def _call_memory(pod: PodSettings, limit_bytes: int | None, share: cgroup.Share) -> CallMemory:
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
    return CallMemory(warn_bytes / BYTES_PER_MB, (limit_bytes or 0) / BYTES_PER_MB)


def _server(
    settings: Settings, hosted: AgentFile, slot_count: int, memory: CallMemory
) -> AgentServer:
    pod, livekit = settings.pod, settings.livekit
    return AgentServer(
        ws_url=livekit.url,
        api_key=livekit.api_key,
        api_secret=livekit.secret,
        # LiveKit's own health port, which says too little (`voicefleet.pod.http` is ours).
        host="127.0.0.1",
        port=0,
        max_retry=livekit.retries,
        load_threshold=pod.load_threshold,
        # A warm process for every free slot: no call waits for one. LiveKit also takes this number
        # for the calls that fill an idle pod (1.8.9, worker.py, _get_effective_load), so with any
        # other it would refuse a burst while slots are free.
        num_idle_processes=slot_count,
        initialize_process_timeout=pod.prewarm_timeout_seconds + LONGEST_PAUSE_SECONDS,
        drain_timeout=pod.drain_timeout_seconds,
        session_end_timeout=pod.session_end_timeout_seconds,
        job_memory_warn_mb=memory.warn_mb,
        job_memory_limit_mb=memory.limit_mb,
        permissions=hosted.permissions,
        preload_modules=["voicefleet.job.preload"]
        + ["voicefleet.job.preload_providers"] * hosted.uses_our_providers,
        setup_fnc=partial(prewarm.load, settings=settings),
        log_level=settings.logs.level,
    )


def _calls(server: AgentServer) -> list[Call]:
    return [Call(job.job.id, job.assigned_at, job.job.room.sid) for job in server.active_jobs]

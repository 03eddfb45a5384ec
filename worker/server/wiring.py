"""LiveKit's `AgentServer`, built from settings and the agent file: the pod in one function."""

import logging
from collections.abc import Callable
from functools import partial

from livekit.agents import AgentServer
from livekit.agents.utils.hw import get_cpu_monitor

from worker.job import entrypoint, prewarm
from worker.job.agent_file import AgentFile
from worker.providers import turns
from worker.server import load
from worker.settings import Settings

BYTES_PER_MB = 1024 * 1024

logger = logging.getLogger(__name__)


def build(settings: Settings, hosted: AgentFile) -> AgentServer:
    """A worker that hosts this agent file; run it with `worker.server.run`."""
    turns.register(settings.providers)
    pod, livekit = settings.pod, settings.livekit
    limit = pod.call_memory_limit_bytes
    server = AgentServer(
        ws_url=livekit.url,
        api_key=livekit.api_key,
        api_secret=livekit.api_secret.get_secret_value() if livekit.api_secret else None,
        host=pod.http_host,
        port=pod.http_port,
        load_threshold=pod.load_threshold,
        load_fnc=load_function(settings),
        num_idle_processes=pod.warm_processes,
        initialize_process_timeout=pod.prewarm_timeout_seconds,
        drain_timeout=pod.drain_timeout_seconds,
        job_memory_warn_mb=pod.call_memory_warn_bytes / BYTES_PER_MB,
        job_memory_limit_mb=limit / BYTES_PER_MB if limit is not None else 0,
        permissions=hosted.permissions,
        preload_modules=["worker.job.preload"],
        setup_fnc=partial(prewarm.prewarm, settings=settings),
        log_level=settings.logs.level,
    )
    server.rtc_session(
        entrypoint.answer,
        agent_name=settings.agent.name or hosted.agent_name,
        type=hosted.server_type,
        on_request=hosted.on_request,
        on_session_end=entrypoint.end if hosted.on_session_end is not None else None,
    )
    return server


def load_function(settings: Settings) -> Callable[[AgentServer], float]:
    """What LiveKit calls, in a thread, every 0.5 s and before each answer to an offer."""
    slots = settings.pod.slots or load.default_slots(get_cpu_monitor().cpu_count())
    logger.info("slots decided", extra={"slots": slots, "set": settings.pod.slots is not None})

    def current(server: AgentServer) -> float:
        return load.of(len(server.active_jobs), slots, settings.pod.load_threshold)

    return current

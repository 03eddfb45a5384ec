"""What the gauges show, gathered from the parts of the pod that know it."""

import time
from collections.abc import Callable
from importlib.metadata import version

from livekit.agents import AgentServer

from worker.server.load import LoadMeter
from worker.server.pod_telemetry import PodTelemetry, Sources
from worker.server.processes import Processes
from worker.server.reconnect import Reconnect
from worker.telemetry import pod_traces, reports
from worker.telemetry.gauges import PodInfo, PodReading
from worker.telemetry_groups import Telemetry


def telemetry(
    settings: Telemetry,
    agent_name: str,
    server: AgentServer,
    processes: Processes,
    reading: Callable[[], PodReading],
) -> PodTelemetry:
    """The telemetry of the pod that is made of these."""
    state = processes.state
    running = lambda: server.active_jobs if state.is_serving else []  # noqa: E731
    info = PodInfo(version("voicefleet"), agent_name, version("livekit-agents"))
    sources = Sources(running, reading, processes.pids, time.time)
    return PodTelemetry(info, sources, pod_traces.begin(settings), reports.begin(settings))


def of(
    processes: Processes, meter: LoadMeter, load_now: Callable[[], float], reconnect: Reconnect
) -> PodReading:
    """What they show now; `load_now` is what LiveKit is told."""
    state, load_reported = processes.state, load_now()
    parts = meter.parts()
    return PodReading(
        calls_active=state.call_count,
        slots=state.slots,
        phase=state.phase.value,
        load={"slots": parts.slots, "cpu": parts.cpu, "memory": parts.memory},
        load_reported=load_reported,
        drain_began_at=state.drain_began_at,
        drain_deadline_at=state.drain_deadline_at,
        oldest_call_seconds=state.oldest_call_seconds,
        warm_processes=processes.warm_count,
        livekit_connected=reconnect.is_connected,
    )

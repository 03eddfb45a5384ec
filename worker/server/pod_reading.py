"""What the gauges show, gathered from the parts of the pod that know it."""

import time
from importlib.metadata import version

from livekit.agents import AgentServer

from worker.server.load import LoadMeter
from worker.server.pod_telemetry import PodTelemetry, Sources
from worker.server.processes import Processes
from worker.server.reconnect import Reconnect
from worker.server.state import PodState
from worker.telemetry import pod_traces, reports
from worker.telemetry.gauges import PodInfo, PodReading
from worker.telemetry_groups import Telemetry


def telemetry(
    settings: Telemetry,
    agent_name: str,
    server: AgentServer,
    processes: Processes,
    meter: LoadMeter,
    reconnect: Reconnect,
) -> PodTelemetry:
    """The telemetry of the pod that is made of these."""
    state = processes.state

    def reading() -> PodReading:
        return _reading(state, processes, meter, reconnect)

    running = lambda: server.active_jobs if state.is_serving else []  # noqa: E731
    info = PodInfo(version("voicefleet"), agent_name, version("livekit-agents"))
    sources = Sources(running, reading, processes.pids, time.time)
    return PodTelemetry(info, sources, pod_traces.begin(settings), reports.begin(settings))


def _reading(
    state: PodState, processes: Processes, meter: LoadMeter, reconnect: Reconnect
) -> PodReading:
    parts = meter.parts()
    return PodReading(
        calls_active=state.call_count,
        slots=state.slots,
        phase=state.phase.value,
        load={"slots": parts.slots, "cpu": parts.cpu, "memory": parts.memory},
        load_reported=meter.load(state.call_count),
        drain_began_at=state.drain_began_at,
        drain_deadline_at=state.drain_deadline_at,
        oldest_call_seconds=state.oldest_call_seconds,
        warm_processes=processes.warm_count,
        livekit_connected=reconnect.is_connected,
    )

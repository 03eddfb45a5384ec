"""The pod's gauges: what is asked for at each scrape rather than counted."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from worker.telemetry import names
from worker.telemetry.names import Metric


@dataclass(frozen=True, slots=True)
class PodReading:
    """What the pod is at this moment. `load` is by part, `call_memory_bytes` by slot from 0 on;
    times are unix seconds.
    """

    calls_active: int
    slots: int
    phase: str
    load: Mapping[str, float] = field(default_factory=dict)
    load_reported: float = 0.0
    drain_began_at: float | None = None
    drain_deadline_at: float | None = None
    oldest_call_seconds: float | None = None
    warm_processes: int = 0
    livekit_connected: bool = False
    call_memory_bytes: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PodInfo:
    version: str
    agent_name: str
    livekit_agents_version: str


class Gauges(Collector):
    """One reading of the pod as metrics."""

    def __init__(self, read: Callable[[], PodReading], info: PodInfo) -> None:
        self._read = read
        self._info = (info.version, info.agent_name, info.livekit_agents_version)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = self._read()
        draining = now.phase == "draining"
        values: dict[Metric, dict[tuple[str, ...], float]] = {
            names.CALLS_ACTIVE: {(): now.calls_active},
            names.SLOTS: {(): now.slots},
            names.LOAD: {(part,): now.load.get(part, 0.0) for part in names.LOAD_PARTS},
            names.LOAD_REPORTED: {(): now.load_reported},
            names.PHASE: {(phase,): float(phase == now.phase) for phase in names.PHASES},
            names.DRAIN_CALLS_LEFT: {(): now.calls_active if draining else 0},
            names.DRAIN_BEGAN: {(): now.drain_began_at or 0.0},
            names.DRAIN_DEADLINE: {(): now.drain_deadline_at or 0.0},
            names.OLDEST_CALL: {(): now.oldest_call_seconds or 0.0},
            names.WARM_PROCESSES: {(): now.warm_processes},
            names.LIVEKIT_CONNECTED: {(): float(now.livekit_connected)},
            names.CALL_MEMORY: {(str(s),): b for s, b in now.call_memory_bytes.items()},
            names.INFO: {self._info: 1.0},
        }
        for metric, series in values.items():
            family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            for labels, value in series.items():
                family.add_metric(labels, value)
            yield family

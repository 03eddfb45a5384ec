"""The pod's metrics for Prometheus: one registry in the parent.

Facts of calls are counted as they come; gauges are read at each scrape. No label names a call or a
process, so the number of series does not grow with the number of calls.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from voicefleet.telemetry import names
from voicefleet.telemetry.messages import (
    Cause,
    Fact,
    Fallback,
    HandedOver,
    Interrupted,
    Joined,
    Outcome,
    PrewarmFailed,
    ProviderError,
    Resumed,
    Stalled,
    TurnTaken,
    Usage,
)
from voicefleet.telemetry.names import Metric

# How many values a label may have. A pod hosts one agent, and a chart of more models than this
# would help nobody.
MOST_MODELS = 32
MOST_PROVIDERS = 16
# Pairs of agents. An agent file may give them any names, even one for each caller.
MOST_HANDOVERS = 32

# Facts that are counted, and nothing else of them.
COUNTED = {Interrupted: names.INTERRUPTIONS, PrewarmFailed: names.PREWARM_FAILURES}

# The value that stands for all further ones.
OTHER = "other"
LONGEST_VALUE = 64
UNUSUAL = re.compile(r"[^\w./:@+-]")


@dataclass(frozen=True, slots=True)
class PodReading:
    """The state of the pod at one moment. `load` is by part, `call_memory_bytes` by slot, from 0;
    times are Unix seconds.
    """

    calls_active: int
    calls_left: int
    calls_finishing: int
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


class PodMetrics:
    """Belongs to the parent's event loop. `read` is called at each scrape and must be quick."""

    def __init__(self, read: Callable[[], PodReading], info: PodInfo) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._models = BoundedLabels(MOST_MODELS)
        self._providers = BoundedLabels(MOST_PROVIDERS)
        self._handovers = BoundedLabels(MOST_HANDOVERS)
        for metric in names.METRICS:
            self._create(metric)
        self._registry.register(Gauges(read, info))
        ProcessCollector(registry=self._registry)

    def observe(self, fact: Fact) -> None:
        """Count a fact. Facts that have no metric are ignored."""
        match fact:
            case Joined():
                self._histograms[names.JOIN.name].observe(fact.seconds)
            case TurnTaken():
                self._turn(fact)
            case Interrupted() | PrewarmFailed():
                self._counters[COUNTED[type(fact)].name].inc()
            case Usage():
                self._usage(fact)
            case ProviderError():
                (provider,) = self._providers(fact.provider)
                recoverable = str(fact.recoverable).lower()
                self._count(names.PROVIDER_ERRORS, fact.kind, provider, recoverable)
            case Fallback():
                self._count(names.PROVIDER_FALLBACKS, fact.kind, *self._providers(fact.provider))
            case HandedOver():
                self._count(names.HANDOVERS, *self._handovers(fact.from_agent, fact.to_agent))
            case Stalled():
                self._count(names.STALLS, "call")
            case Resumed():
                self._counters[names.RESUMES.name].inc()
                self._histograms[names.RESUME_SILENCE.name].observe(fact.seconds)
            case _:
                pass

    def job_died(self, cause: Cause) -> None:
        self._count(names.DEATHS, cause.value)

    def not_resumed(self, reason: str) -> None:
        self._count(names.NOT_RESUMED, reason)

    def call_taken(self) -> None:
        self._counters[names.CALLS_TAKEN.name].inc()

    def call_ended(self, outcome: Outcome, cause: Cause, seconds: float | None) -> None:
        """Count a call that is over or refused; `seconds` is None if it never began."""
        self._count(names.CALLS, outcome.value, cause.value)
        if seconds is not None:
            self._histograms[names.CALL_LENGTH.name].observe(seconds)

    def pod_stalled(self) -> None:
        self._count(names.STALLS, "pod")

    def reconnected(self) -> None:
        self._counters[names.RECONNECTS.name].inc()

    def event_rejected(self) -> None:
        self._counters[names.EVENTS_REJECTED.name].inc()

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """The body and its content type, in the format that the Accept header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def _turn(self, turn: TurnTaken) -> None:
        for leg in names.LEGS:
            seconds = getattr(turn, f"{leg}_seconds")
            if seconds is not None:
                self._histograms[names.TURN.name].labels(leg).observe(seconds)

    def _usage(self, used: Usage) -> None:
        who = self._models(used.provider, used.model)
        self._begin_errors(used.kind, *self._providers(used.provider))
        tokens = {
            "input": used.input_tokens,
            "cached": used.cached_tokens,
            "output": used.output_tokens,
        }
        for kind, count in tokens.items():
            if count:
                self._count(names.TOKENS, *who, kind, by=count)
        if used.characters:
            self._count(names.CHARACTERS, *who, by=used.characters)
        if used.audio_seconds and used.kind in {"stt", "tts"}:
            self._count(names.AUDIO, *who, used.kind, by=used.audio_seconds)

    def _begin_errors(self, kind: str, provider: str) -> None:
        """Start the error counters of a provider that is used at zero. Prometheus' `increase` and
        `rate` ignore the first value of a series, which would otherwise be the first error.
        """
        for recoverable in ("true", "false"):
            self._counters[names.PROVIDER_ERRORS.name].labels(kind, provider, recoverable)
        self._counters[names.PROVIDER_FALLBACKS.name].labels(kind, provider)

    def _count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        self._counters[metric.name].labels(*labels).inc(by)

    def _create(self, metric: Metric) -> None:
        made: Counter | Histogram
        if metric.kind is names.Kind.COUNTER:
            made = Counter(metric.name, metric.meaning, metric.labels, registry=self._registry)
            self._counters[metric.name] = made
        elif metric.kind is names.Kind.HISTOGRAM:
            made = Histogram(
                metric.name,
                metric.meaning,
                metric.labels,
                registry=self._registry,
                buckets=metric.buckets,
            )
            self._histograms[metric.name] = made
        else:
            return
        for values in metric.series:
            made.labels(*values)


class Gauges(Collector):
    """Reads the pod at each scrape."""

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
            names.CALLS_FINISHING: {(): now.calls_finishing},
            names.DRAIN_CALLS_LEFT: {(): now.calls_left if draining else 0},
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


class BoundedLabels:
    """Keeps the first `most` different sets of label values; every further one becomes "other".

    Belongs to one thread.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[tuple[str, ...]] = set()

    def __call__(self, *values: str) -> tuple[str, ...]:
        tidy = tuple(_tidy(value) for value in values)
        if tidy in self._known:
            return tidy
        if len(self._known) >= self._most:
            return (OTHER,) * len(values)
        self._known.add(tidy)
        return tidy


def _tidy(value: str) -> str:
    """A name as a label value: short, and of usual characters."""
    return UNUSUAL.sub("_", value)[:LONGEST_VALUE] or "unknown"

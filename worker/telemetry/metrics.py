"""The pod's metrics: one registry in the parent, fed with the facts of every call as they come.

Gauges are asked for when Prometheus asks. Nothing here is per call or per process, so the number of
series stays as it is however many calls there have been.
"""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from worker.telemetry import names
from worker.telemetry.events import Cause, Fact, Outcome, PrewarmFailed
from worker.telemetry.facts import (
    Fallback,
    HandedOver,
    Interrupted,
    Joined,
    ProviderError,
    Stalled,
    TurnTaken,
    Usage,
)
from worker.telemetry.gauges import Gauges, PodInfo, PodReading
from worker.telemetry.labels import Bounded
from worker.telemetry.names import Metric

# A pod hosts one agent; one that uses more models than this is not served by a chart of each.
MOST_MODELS = 32
MOST_PROVIDERS = 16
# Pairs; an agent file may name its agents as it likes, even after the caller.
MOST_HANDOVERS = 32


class PodMetrics:
    """Belongs to the parent's event loop. `read` is called at each scrape and must be quick."""

    def __init__(self, read: Callable[[], PodReading], info: PodInfo) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._models = Bounded(MOST_MODELS)
        self._providers = Bounded(MOST_PROVIDERS)
        self._handovers = Bounded(MOST_HANDOVERS)
        for metric in names.METRICS:
            self._create(metric)
        self._registry.register(Gauges(read, info))
        ProcessCollector(registry=self._registry)

    def observe(self, fact: Fact) -> None:
        """Count what a call tells; facts that are nothing to count pass by."""
        match fact:
            case Joined():
                self._histograms[names.JOIN.name].observe(fact.seconds)
            case TurnTaken():
                self._turn(fact)
            case Interrupted():
                self._counters[names.INTERRUPTIONS.name].inc()
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
            case PrewarmFailed():
                self._counters[names.PREWARM_FAILURES.name].inc()
            case _:
                pass

    def call_taken(self) -> None:
        self._counters[names.CALLS_TAKEN.name].inc()

    def call_ended(self, outcome: Outcome, cause: Cause, seconds: float | None) -> None:
        """Count a call that is over; `seconds` is None where it never began."""
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
        """A provider that is used has its errors at zero: Prometheus' `increase` and `rate` do not
        see what a series begins with, and that would be the first error.
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

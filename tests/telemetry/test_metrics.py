"""What is counted, and that no caller or agent file can make more series of it."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from voicefleet.telemetry import names
from voicefleet.telemetry.messages import (
    OUTCOMES,
    Cause,
    Fact,
    Fallback,
    HandedOver,
    Interrupted,
    Joined,
    Outcome,
    PrewarmFailed,
    ProviderError,
    Stalled,
    TurnTaken,
    Usage,
)
from voicefleet.telemetry.metrics import (
    MOST_HANDOVERS,
    MOST_MODELS,
    PodInfo,
    PodMetrics,
    PodReading,
)

READING = PodReading(
    calls_active=2,
    calls_left=3,
    calls_finishing=1,
    slots=4,
    phase="draining",
    load={"slots": 0.5, "cpu": 0.1, "memory": 0.0},
    load_reported=0.35,
    drain_began_at=1_000_000.0,
    drain_deadline_at=1_000_060.0,
    oldest_call_seconds=12.0,
    warm_processes=2,
    livekit_connected=True,
    call_memory_bytes={0: 100, 3: 200},
)


def metrics(reading: PodReading = READING) -> PodMetrics:
    return PodMetrics(lambda: reading, PodInfo("0.1.0", "assistant", "1.8.9"))


def scraped(counted: PodMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    body, _ = counted.scrape("")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(counted: PodMetrics, name: str, **labels: str) -> float | None:
    return scraped(counted).get((f"voicefleet_{name}", tuple(sorted(labels.items()))))


def one_call(number: int) -> list[Fact]:
    return [
        Joined(seconds=0.4),
        TurnTaken(transcript_seconds=0.3, end_of_turn_seconds=0.5),
        TurnTaken(first_token_seconds=0.1, first_audio_seconds=0.1, heard_seconds=0.9),
        Interrupted(),
        Usage(kind="llm", provider=f"p{number}", model=f"m{number}", input_tokens=5),
        Usage(kind="stt", provider="deepgram", model="nova", audio_seconds=2.5),
        Usage(kind="tts", provider="cartesia", model="sonic", characters=7, audio_seconds=1),
        ProviderError(kind="tts", provider=f"p{number}", recoverable=True),
        Fallback(kind="tts", provider=f"p{number}"),
        Stalled(seconds=0.3),
        HandedOver(from_agent="reception", to_agent=f"a{number}"),
    ]


def test_every_fact_of_a_call_is_counted_as_it_comes() -> None:
    counted = metrics()
    for fact in one_call(0):
        counted.observe(fact)
    counted.observe(PrewarmFailed(error="no model"))
    assert value(counted, "join_seconds_count") == 1
    assert value(counted, "turn_seconds_sum", leg="heard") == 0.9
    assert value(counted, "turn_seconds_count", leg="transcript") == 1
    assert value(counted, "interruptions_total") == 1
    assert value(counted, "tokens_total", provider="p0", model="m0", type="input") == 5
    assert value(counted, "characters_total", provider="cartesia", model="sonic") == 7
    heard = value(counted, "audio_seconds_total", provider="deepgram", model="nova", kind="stt")
    assert heard == 2.5
    errors = value(counted, "provider_errors_total", kind="tts", provider="p0", recoverable="true")
    assert errors == 1
    assert value(counted, "provider_fallbacks_total", kind="tts", provider="p0") == 1
    assert value(counted, "event_loop_stalls_total", process="call") == 1
    assert value(counted, "handovers_total", from_agent="reception", to_agent="a0") == 1
    assert value(counted, "prewarm_failures_total") == 1


def test_a_call_is_counted_by_outcome_and_cause_and_all_of_them_are_there_from_the_start() -> None:
    counted = metrics()
    for cause, outcome in OUTCOMES.items():
        labels = {"outcome": outcome.value, "cause": cause.value}
        assert value(counted, "calls_total", **labels) == 0
    counted.call_ended(Outcome.FAILED, Cause.CRASHED, 30.0)
    counted.call_ended(Outcome.REFUSED, Cause.NO_SLOT, None)
    assert value(counted, "calls_total", outcome="failed", cause="crashed") == 1
    assert value(counted, "calls_total", outcome="refused", cause="no_slot") == 1
    assert value(counted, "call_seconds_count") == 1


def test_gauges_are_asked_for_at_the_scrape() -> None:
    counted = metrics()
    assert value(counted, "calls_active") == 2
    assert value(counted, "drain_calls_left") == 3
    assert value(counted, "calls_finishing") == 1
    assert value(counted, "load_ratio", part="slots") == 0.5
    assert value(counted, "phase", phase="draining") == 1
    assert value(counted, "phase", phase="ready") == 0
    assert value(counted, "call_memory_bytes", slot="3") == 200
    assert value(counted, "drain_began_timestamp_seconds") == 1_000_000.0
    assert value(counted, "drain_deadline_timestamp_seconds") == 1_000_060.0


def test_a_hundred_calls_leave_the_number_of_series_as_the_first_left_it() -> None:
    """A label such as a job id would add a series a call, which ends a Prometheus."""
    counted = metrics()

    def call() -> None:
        for fact in one_call(0):
            counted.observe(fact)
        counted.call_ended(Outcome.COMPLETED, Cause.CALLER_LEFT, 30.0)

    call()
    after_one = set(scraped(counted))
    for _ in range(100):
        call()
    assert set(scraped(counted)) == after_one


def test_whatever_models_are_named_only_so_many_series_come_of_it() -> None:
    counted = metrics()
    for number in range(500):
        for fact in one_call(number):
            counted.observe(fact)
    tokens = [key for key in scraped(counted) if key[0] == "voicefleet_tokens_total"]
    assert len(tokens) <= MOST_MODELS + 1
    handovers = [key for key in scraped(counted) if key[0] == "voicefleet_handovers_total"]
    assert len(handovers) == MOST_HANDOVERS + 1
    others = value(counted, "tokens_total", provider="other", model="other", type="input")
    assert others is not None
    assert others > 0


def test_an_openmetrics_scraper_gets_openmetrics() -> None:
    body, content_type = metrics().scrape("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize("metric", names.METRICS, ids=lambda metric: metric.name)
def test_every_metric_says_what_it_measures_and_is_scraped(metric: names.Metric) -> None:
    assert metric.meaning.startswith(("How ", "When ", "Whether ", "Which "))
    assert metric.unit
    body, _ = metrics().scrape("")
    assert re.search(rf"^# HELP {metric.name} ", body.decode(), re.M)


def test_process_metrics_are_those_every_dashboard_knows() -> None:
    body, _ = metrics().scrape("")
    assert b"process_start_time_seconds" in body
    assert b"_created" not in body


def test_a_provider_that_is_used_has_its_errors_at_zero_before_the_first() -> None:
    """`increase` does not see what a series begins with: dashboards showed no error where there was
    one.
    """
    counted = metrics()
    counted.observe(Usage(kind="tts", provider="cartesia", model="sonic", characters=5))
    who = {"kind": "tts", "provider": "cartesia"}
    for recoverable in ("true", "false"):
        labels = {**who, "recoverable": recoverable}
        assert value(counted, "provider_errors_total", **labels) == 0
    assert value(counted, "provider_fallbacks_total", **who) == 0
    counted.observe(Fallback(kind="tts", provider="cartesia"))
    assert value(counted, "provider_fallbacks_total", **who) == 1

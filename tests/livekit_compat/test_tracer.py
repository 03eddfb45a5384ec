"""An agent file that sets a tracer provider of its own, as LiveKit's examples do for Langfuse."""

from collections.abc import Iterator

import pytest
from livekit.agents import telemetry
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from tests.livekit_compat.contract import expect
from voicefleet.livekit_compat import tracer
from voicefleet.settings.telemetry import Telemetry
from voicefleet.telemetry import job_traces, span_wire
from voicefleet.telemetry.messages import CallFact, Spans, TurnTaken

TURN = {"lk.transcription_delay": 0.3, "lk.end_of_turn_delay": 0.5}
SAID = {"lk.pii.user_transcript": "My name is Ada."}
TOLD = TurnTaken(transcript_seconds=0.3, end_of_turn_seconds=0.5)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[CallFact]]:
    """What the process tells its pod, as prewarm sets it up; LiveKit's tracer is put back after."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    before = dict(vars(telemetry.tracer))
    facts: list[CallFact] = []
    job_traces.set_up(Telemetry(), facts.append)
    yield facts
    vars(telemetry.tracer).clear()
    vars(telemetry.tracer).update(before)


def turn(**attributes: str) -> None:
    telemetry.tracer.start_span("user_turn", attributes=TURN | SAID | attributes).end()


def turns(told: list[CallFact]) -> list[CallFact]:
    return [fact for fact in told if isinstance(fact, TurnTaken)]


def sent(told: list[CallFact]) -> list[str]:
    """The names of the spans that the pod was handed, and none with what was said."""
    spans = [s for fact in told if isinstance(fact, Spans) for s in span_wire.decode(fact.data)]
    assert not [span for span in spans if "Ada" in span.to_json()]
    return [span.name for span in spans]


def test_every_way_of_setting_a_provider_goes_by_the_method_that_we_replace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_before_by_name = telemetry.set_tracer_provider
    monkeypatch.setattr(telemetry.tracer, "set_provider", telemetry.tracer.set_provider)
    seen: list[object] = []
    tracer.add_to_later_providers([], lambda one: one, lambda sampler: sampler)
    ours = telemetry.tracer.set_provider

    def see(provider: TracerProvider) -> None:
        seen.append(provider)
        ours(provider)

    monkeypatch.setattr(telemetry.tracer, "set_provider", see)
    provider = TracerProvider()
    before = {k: v for k, v in vars(telemetry.tracer).items() if k != "set_provider"}
    try:
        set_before_by_name(provider)
    finally:
        vars(telemetry.tracer).update(before)
    expect(
        seen == [provider],
        "LiveKit's telemetry.set_tracer_provider no longer goes by `telemetry.tracer.set_provider`:"
        " the calls of an agent file with a tracer provider of its own lose their turns and their"
        " trace. See livekit_compat/tracer.py",
    )


def test_a_files_own_provider_gets_the_spans_and_so_do_we(told: list[CallFact]) -> None:
    """It took them all, and the file's turns were neither counted nor in the call's trace."""
    theirs, langfuse = TracerProvider(), InMemorySpanExporter()
    theirs.add_span_processor(SimpleSpanProcessor(langfuse))
    telemetry.set_tracer_provider(theirs, metadata={"langfuse.session.id": "one"})
    turn()
    with theirs.get_tracer("their.own").start_as_current_span("Ada's own span"):
        pass
    theirs.force_flush()
    assert turns(told) == [TOLD]
    assert sent(told) == ["user_turn"]
    finished = langfuse.get_finished_spans()
    assert [span.name for span in finished] == ["user_turn", "Ada's own span"]
    assert finished[0].attributes is not None
    assert finished[0].attributes["lk.pii.user_transcript"] == "My name is Ada."


def test_a_file_that_shuts_its_provider_down_or_sets_it_again_changes_nothing(
    told: list[CallFact],
) -> None:
    theirs = TracerProvider()
    telemetry.set_tracer_provider(theirs)
    telemetry.set_tracer_provider(theirs)
    turn()
    theirs.shutdown()
    telemetry.set_tracer_provider(TracerProvider())
    turn()
    assert turns(told) == [TOLD, TOLD]


def test_what_a_file_does_not_sample_is_counted_all_the_same(told: list[CallFact]) -> None:
    theirs, langfuse = TracerProvider(sampler=ALWAYS_OFF), InMemorySpanExporter()
    theirs.add_span_processor(SimpleSpanProcessor(langfuse))
    telemetry.set_tracer_provider(theirs)
    turn()
    assert turns(told) == [TOLD]
    assert not langfuse.get_finished_spans()

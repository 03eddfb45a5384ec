"""LiveKit still starts the spans that the facts of a call are read from, and names them so."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import livekit.agents
import pytest
from livekit.agents import Agent, AgentSession, telemetry
from livekit.agents.telemetry import loop_monitor
from livekit.agents.voice.speech_handle import InterruptionSource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.agents.loudspeaker import Loudspeaker, Voice
from tests.agents.scripted_llm import ScriptedLLM
from tests.livekit_compat.contract import expect
from voicefleet.livekit_compat import spans

LIVEKIT = Path(livekit.agents.__file__).parent

STARTED_IN = {
    spans.JOB_ENTRYPOINT: "ipc/job_proc_lazy_main.py",
    spans.ROOM_CONNECT: "job.py",
    spans.USER_TURN: "voice/audio_recognition.py",
    spans.LLM_NODE: "voice/generation.py",
    spans.TTS_NODE: "voice/generation.py",
    spans.AGENT_TURN: "voice/agent_activity.py",
    spans.UPDATE_AGENT: "voice/agent_session.py",
}


def started_in(path: Path) -> set[str]:
    """The names of the spans that this file starts: `start_span("…"` and the like."""
    return set(re.findall(r"_span\(\s*\"(\w+)\"", path.read_text()))


@pytest.mark.parametrize(("name", "file"), STARTED_IN.items())
def test_livekit_starts_a_span_of_this_name(name: str, file: str) -> None:
    expect(
        name in started_in(LIVEKIT / file),
        f"livekit-agents no longer starts a span {name!r} in {file}: the facts read from it are"
        " not told any more. Find its new name and change livekit_compat/spans.py",
    )


# Those that only a caller's speech brings forth.
SET_IN = {
    "ATTR_TRANSCRIPTION_DELAY": "voice/audio_recognition.py",
    "ATTR_END_OF_TURN_DELAY": "voice/audio_recognition.py",
    "ATTR_E2E_LATENCY": "voice/agent_activity.py",
}


@pytest.mark.parametrize(("name", "file"), SET_IN.items())
def test_livekit_sets_this_attribute(name: str, file: str) -> None:
    expect(
        f"trace_types.{name}" in (LIVEKIT / file).read_text(),
        f"livekit-agents no longer sets {name} in {file}: the delays of a turn are not measured."
        " See livekit_compat/spans.py",
    )


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    """What LiveKit traces in this process; its tracer is put back after."""
    before = dict(vars(telemetry.tracer))
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry.set_tracer_provider(provider)
    yield exporter
    vars(telemetry.tracer).clear()
    vars(telemetry.tracer).update(before)


class Second(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="")


async def spoken_call() -> None:
    """A caller in text, an agent with a voice: one answer to its end, a second agent, and an answer
    that is cut short.
    """
    loudspeaker = Loudspeaker()
    session = AgentSession[Any](
        llm=ScriptedLLM("First.", "Second."),
        tts=Voice(),
        vad=None,
        turn_handling={"turn_detection": None},
    )
    async with session:
        session.output.audio = loudspeaker
        await session.start(Agent(instructions=""))
        loudspeaker.can_end.set()
        await session.generate_reply(user_input="one")
        session.update_agent(Second())
        loudspeaker.can_end.clear()
        cut = session.generate_reply(user_input="two")
        await loudspeaker.is_sounding.wait()
        await session.interrupt()
        await cut


async def test_a_call_has_the_spans_that_we_read_with_their_attributes(
    exported: InMemorySpanExporter,
) -> None:
    async with asyncio.timeout(20):
        await spoken_call()
    finished = exported.get_finished_spans()

    def expect_attributes(span: str, *attributes: str, lost: str) -> list[ReadableSpan]:
        found = [one for one in finished if one.name == span]
        having = [one for one in found if set(attributes) <= set(one.attributes or {})]
        expect(
            having,
            f"In a call livekit-agents ends no span {span!r} with {attributes}: {lost}. See"
            f" livekit_compat/spans.py. Spans of this name: {[one.to_json() for one in found]}."
            f" All: {sorted({one.name for one in finished})}",
        )
        return having

    expect_attributes(
        spans.LLM_NODE, spans.TIME_TO_FIRST_TOKEN, lost="the time of LLMs is not measured"
    )
    expect_attributes(
        spans.TTS_NODE, spans.TIME_TO_FIRST_BYTE, lost="the time of voices is not measured"
    )
    expect_attributes(spans.AGENT_TURN, lost="turns are not counted")
    expect_attributes(
        spans.UPDATE_AGENT,
        spans.PREVIOUS_AGENT,
        spans.NEW_AGENT,
        lost="a hand-over between agents is not told",
    )
    (cut,) = expect_attributes(
        spans.AGENT_TURN,
        spans.INTERRUPTION_SOURCE,
        spans.PLAYOUT_POSITION,
        lost="interruptions are not counted",
    )
    attributes = cut.attributes or {}
    expect(
        attributes[spans.INTERRUPTION_SOURCE] not in spans.CALLER_SPOKE,
        "livekit-agents gives an interruption by the agent file a source that we take for a caller"
        " who speaks. See CALLER_SPOKE in livekit_compat/spans.py",
    )
    scopes = {one.instrumentation_scope.name for one in finished if one.instrumentation_scope}
    expect(
        scopes == {spans.SCOPE},
        f"livekit-agents traces in the scopes {scopes}: its spans are not recognised at a provider"
        " of the agent file. Change SCOPE in livekit_compat/spans.py",
    )


def test_livekit_names_the_span_of_a_blocked_event_loop_so() -> None:
    expect(
        loop_monitor.SPAN_NAME == spans.EVENT_LOOP_BLOCKED,
        f"livekit-agents names the span of a blocked event loop {loop_monitor.SPAN_NAME!r}: code of"
        " an agent file that blocks its call is not told. See livekit_compat/spans.py",
    )


def test_an_interruption_has_the_sources_that_we_know() -> None:
    sources = set(InterruptionSource.__args__)  # type: ignore[attr-defined]
    expect(
        sources == spans.CALLER_SPOKE | {"programmatic"},
        f"livekit-agents has other sources of an interruption: {sources}. Decide of each whether it"
        " is a caller who speaks, and change CALLER_SPOKE in livekit_compat/spans.py and this test",
    )

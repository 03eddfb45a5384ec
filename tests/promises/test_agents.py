"""A real spoken call with each of the agents that ship, hosted as an operator would."""

import itertools

import aiohttp
import pytest

from tests.promises.conftest import RunStack
from tests.promises.test_calls import call
from tests.promises.test_traces import counted
from worker.agents.triage.agent import VOICES
from worker.lab import otlp_receiver, timeline

pytestmark = pytest.mark.server


async def test_an_appointment_is_made_and_cancelled_and_read_back_each_time(
    run_stack: RunStack,
) -> None:
    """Beside it plays an office: a sound of its own, which is in nobody's way."""
    async with run_stack("front_desk", script="front_desk", WORKER_BACKGROUND_SOUND="office") as up:
        done = await call(up, "front_desk")
        log = "".join(part.log.read_text() for part in up.parts)
    assert timeline.verdict(done) is None
    tools = ["propose_appointment", "confirm_change", "propose_cancellation", "confirm_change"]
    assert [tool for turn in done.turns for tool in turn.tools] == tools
    assert "Anna Smith" not in log


async def test_an_order_is_changed_with_the_customer_and_ends_with_its_total(
    run_stack: RunStack,
) -> None:
    async with run_stack("drive_thru", script="drive_thru") as up:
        done = await call(up, "drive_thru")
        (worker,) = (part for part in up.parts if part.name == "worker")
        ordered = [line for line in worker.log.read_text().splitlines() if "kitchen" in line]
    assert timeline.verdict(done) is None
    assert len(ordered) == 1
    assert '"total_cents": 900' in ordered[0]


async def test_a_call_goes_from_desk_to_desk_and_each_handover_is_heard_traced_and_counted(
    run_stack: RunStack,
) -> None:
    async with otlp_receiver.listening() as collector:
        telling = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        async with run_stack("triage", script="triage", **telling) as up:
            done = await call(up, "triage")
            root = await collector.wait_for(lambda s: s.name == "call", within_seconds=10)
            after = await counted(up)
            async with aiohttp.ClientSession() as http:
                asked = await http.get(f"{up.providers_url}/lab/requests")
                requests = (await asked.json())["requests"]
    assert timeline.verdict(done) is None
    route = ["reception", "billing", "reception", "technical"]
    pairs = list(itertools.pairwise(route))
    spans = [s for s in collector.trace(root.trace_id) if s.name == "update_agent"]
    told = [
        (s.attributes["lk.previous_agent_label"], s.attributes["lk.agent_label"]) for s in spans
    ]
    assert told == pairs
    for pair in pairs:
        assert after["handovers_total", *pair] == 1
    voices = [r["note"] for r in requests if r["kind"] == "text"]
    for desk in ("billing", "technical"):
        assert f"voice {VOICES[desk]['cartesia']}" in voices
    assert len(set(voices)) == 3

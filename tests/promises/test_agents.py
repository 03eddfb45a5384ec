"""A real spoken call with each of the agents that ship, hosted as an operator would."""

import asyncio
import itertools

import aiohttp
import pytest
from livekit import api

from tests.promises.conftest import RunStack
from tests.promises.test_pod import logged, worker_of
from tests.promises.test_traces import counted
from worker.agents.triage.agent import VOICES
from worker.lab import caller, conversation, otlp_receiver, timeline
from worker.lab.caller import CallPlan
from worker.lab.stack import Stack
from worker.lab.timeline import Event, EventKind

pytestmark = pytest.mark.server


def plan(up: Stack, script: str) -> CallPlan:
    return CallPlan(
        *(up.url, up.api_key, up.api_secret, up.agent_name, conversation.load(script)),
        answer_timeout_seconds=30.0,
    )


async def tracks_of_the_agent(call: CallPlan) -> set[str]:
    """The names of all tracks in the room but the caller's."""
    async with api.LiveKitAPI(call.url, call.api_key, call.api_secret) as livekit:
        asked = api.ListParticipantsRequest(room=call.room)
        there = (await livekit.room.list_participants(asked)).participants
    return {t.name for p in there for t in p.tracks if not p.identity.startswith("caller-")}


async def test_an_appointment_is_made_and_cancelled_and_read_back_each_time(
    run_stack: RunStack,
) -> None:
    """Behind it an office is heard, on a track of its own, and is in nobody's way."""
    office = {"WORKER_BACKGROUND_SOUND": "office"}
    async with run_stack("front_desk", script="front_desk", **office) as up:
        placed, has_answered = plan(up, "front_desk"), asyncio.Event()

        def on_event(event: Event) -> None:
            if event.kind is EventKind.AGENT_SPEAKS:
                has_answered.set()

        calling = asyncio.create_task(caller.place_call(placed, on_event=on_event))
        await asyncio.wait_for(has_answered.wait(), timeout=60)
        tracks = await tracks_of_the_agent(placed)
        done = await calling
        log = worker_of(up).log.read_text()
    assert timeline.verdict(done) is None
    tools = ["propose_appointment", "confirm_change", "propose_cancellation", "confirm_change"]
    assert [tool for turn in done.turns for tool in turn.tools] == tools
    assert "background_audio" in tracks
    assert len(tracks) == 2
    assert "Anna Smith" not in log


async def test_an_order_is_changed_with_the_customer_and_ends_with_its_total(
    run_stack: RunStack,
) -> None:
    async with run_stack("drive_thru", script="drive_thru") as up:
        done = await caller.place_call(plan(up, "drive_thru"))
        ordered = logged(up, "order for the kitchen")
    assert timeline.verdict(done) is None
    assert [order["total_cents"] for order in ordered] == [900]


async def test_a_call_goes_from_desk_to_desk_and_each_handover_is_heard_traced_and_counted(
    run_stack: RunStack,
) -> None:
    async with otlp_receiver.listening() as collector:
        telling = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        async with run_stack("triage", script="triage", **telling) as up:
            done = await caller.place_call(plan(up, "triage"))
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

"""A real spoken call with each of the agents that ship, hosted as an operator would."""

import asyncio
import itertools
from datetime import UTC, datetime, time
from pathlib import Path

import aiohttp
import pytest

from tests.promises import bystander
from tests.promises.conftest import RunStack
from tests.promises.test_pod import causes, logged, worker_of
from tests.promises.test_traces import counted
from tests.waiting import wait_until
from voicefleet.agents.front_desk.calendar import SqliteCalendar
from voicefleet.agents.triage.agent import VOICES
from voicefleet.lab import caller, conversation, otlp_receiver, timeline
from voicefleet.lab.caller import CallPlan
from voicefleet.lab.line import BACKGROUND_TRACK, Address
from voicefleet.lab.stack import Stack
from voicefleet.lab.timeline import Event, EventKind

pytestmark = pytest.mark.server

TAKEN_TIME = str(Path(__file__).with_name("taken_time.toml"))


def plan(up: Stack, script: str) -> CallPlan:
    return CallPlan(
        *(up.url, up.api_key, up.api_secret, up.agent_name, conversation.load(script)),
        answer_timeout_seconds=30.0,
    )


async def test_a_taken_time_is_refused_and_another_is_read_back_and_booked(
    run_stack: RunStack, tmp_path: Path
) -> None:
    """Behind it an office is heard, also where the agent is silent, and is in nobody's way."""
    tuesday = conversation.next_day("tuesday", datetime.now(UTC).date())
    ten, eleven = (datetime.combine(tuesday, time(hour)) for hour in (10, 11))
    book = SqliteCalendar(tmp_path / "calendar.sqlite3")
    theirs = await book.book("another call", eleven, "Bob Jones")
    async with run_stack("front_desk", TAKEN_TIME, VOICEFLEET_BACKGROUND_SOUND="office") as up:
        placed, has_answered = plan(up, TAKEN_TIME), asyncio.Event()

        def on_event(event: Event) -> None:
            # When it has been heard out: another who joins is a click in what this process hears.
            if event.kind is EventKind.CALLER_HEARD:
                has_answered.set()

        calling = asyncio.create_task(caller.place_call(placed, on_event=on_event))
        # Whoever is there before the caller would be taken for the caller.
        await asyncio.wait_for(has_answered.wait(), timeout=60)
        bystanders = Address(up.url, up.api_key, up.api_secret, "", placed.room, "bystander")
        async with bystander.joined(bystanders) as ears:
            await wait_until(
                lambda: ears.hears_behind(BACKGROUND_TRACK, "roomio_audio"),
                because="the office is heard while the agent is silent",
            )
        done = await calling
    log = worker_of(up).log.read_text()
    assert timeline.verdict(done) is None
    assert causes(up) == ["caller_left"]
    tools = ["propose_appointment", "propose_appointment", "confirm_change"]
    assert [tool for turn in done.turns for tool in turn.tools] == tools
    assert await book.taken(tuesday) == {ten, eleven}
    assert await book.find(theirs.reference) == theirs
    assert "Anna Smith" not in log


# Encoding and decoding video beside another call is more than two cores have to spare.
@pytest.mark.alone
async def test_a_caller_is_told_what_they_hold_before_their_camera(run_stack: RunStack) -> None:
    """The model is asked with pictures of the real track, and answers what it makes out in them."""
    async with run_stack("vision", script="vision") as up:
        done = await caller.place_call(plan(up, "vision"))
    assert timeline.verdict(done) is None
    assert causes(up) == ["caller_left"]


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

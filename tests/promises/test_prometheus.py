"""What a real Prometheus makes of a pod's metrics: the questions that an operator asks."""

import asyncio
import os
import time
from pathlib import Path

import aiohttp
import pytest

from ops.dashboards import asking, drill
from ops.dashboards.asking import Span
from ops.dashboards.cost import PRICES
from ops.dashboards.files import DASHBOARDS, FOLDER
from tests.promises.conftest import RunStack
from tests.promises.test_pod import (
    causes,
    endpoints_of,
    exit_code_of,
    greeting_only,
    plan,
    worker_of,
)
from tests.waiting import wait_until
from voicefleet import errors
from voicefleet.errors import ExitCode
from voicefleet.fleet import endpoints
from voicefleet.fleet import prometheus as seen_by_prometheus
from voicefleet.lab import caller, prometheus
from voicefleet.lab.killing import process_of_the_call
from voicefleet.lab.prometheus import SCRAPE_EVERY_SECONDS, Prometheus
from voicefleet.lab.stack import Stack
from voicefleet.lab.timeline import Event, EventKind, Timeline
from voicefleet.telemetry import names

pytestmark = pytest.mark.server


@pytest.fixture(scope="session")
def prometheus_binary() -> Path:
    """A missing tool skips on a laptop and fails in CI."""
    try:
        return prometheus.find()
    except errors.ToolError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{error.problem}; {error.fix}")


async def test_prometheus_answers_what_operations_and_dashboards_ask_of_a_pod_with_calls(
    run_stack: RunStack, prometheus_binary: Path, tmp_path: Path
) -> None:
    async with run_stack("assistant", VOICEFLEET_SLOTS="2", VOICEFLEET_TTS="cartesia,openai") as up:
        pod = (await endpoints_of(worker_of(up))).removeprefix("http://")
        rules, began = drill.rules(tmp_path), time.time()
        async with prometheus.run(prometheus_binary, [pod], tmp_path, rules) as watching:
            done = await asyncio.gather(*(caller.place_call(plan(up)) for _ in range(2)))
            assert all(call.first_audio_seconds is not None for call in done)
            await wait_until(lambda: len(causes(up)) == 2, because="both calls are over")

            async def has_seen_the_end() -> bool:
                ended = "sum(voicefleet_calls_total{outcome='completed'})"
                return await watching.value(ended) == 2

            await wait_until(has_seen_the_end, because="a scrape saw the end of both")
            ask = watching.value

            # How full was the fleet, and is there room?
            assert await ask("max_over_time(sum(voicefleet_calls_active)[5m:1s])") == 2
            assert await ask("sum(voicefleet_slots) - sum(voicefleet_calls_active)") == 2
            assert await ask("max_over_time(max(voicefleet_load_reported_ratio)[5m:1s])") >= 0.7
            # Was every caller answered in time, and was no call dropped?
            joined = "sum(voicefleet_join_seconds_bucket{le='3.0'})"
            assert await ask(f"{joined} / sum(voicefleet_join_seconds_count)") == 1
            assert await ask("sum(voicefleet_calls_total{outcome='failed'})") == 0
            assert await ask("sum(voicefleet_calls_total{outcome='completed'})") == 2
            # How long do callers wait for each leg of a turn?
            quantile = "histogram_quantile(0.95, sum by (leg, le) (voicefleet_turn_seconds_bucket))"
            legs = {sample.labels["leg"]: sample.value for sample in await watching.ask(quantile)}
            assert set(legs) == set(names.LEGS)
            assert all(0 < seconds <= names.TURN_BUCKETS[-1] for seconds in legs.values())
            # What does it cost, and with whom?
            assert await ask("sum(voicefleet_tokens_total{type='output'})") > 0
            assert await ask("sum(voicefleet_audio_seconds_total{kind='stt'})") > 10
            # Has a pod restarted?
            assert await ask("changes(process_start_time_seconds[5m])") == 0

            # What does a dashboard show of that, and of a call that outlasts its pod's orders?
            quiet = Span(began, time.time(), SCRAPE_EVERY_SECONDS)
            draining = Span(began, await drained_in_a_call(up, watching, pod), quiet.scrape_seconds)
            unanswered = await without_an_answer(watching, quiet)
            assert unanswered & await without_an_answer(watching, draining) == set()
            failed = "sum(increase(voicefleet_provider_errors_total[5m]))"
            assert await ask(failed) > 0, "an error is a growth, and not only a first value"


async def drained_in_a_call(up: Stack, watching: Prometheus, pod: str) -> float:
    """Tell the pod to stop during a call whose first voice fails, and whose process dies; when
    Prometheus had seen all of it.
    """
    async with aiohttp.ClientSession() as http:
        address = f"{up.providers_url}/lab/behaviour/cartesia"
        async with http.put(address, json={"fault": "server_error"}) as put:
            put.raise_for_status()
        is_joined = asyncio.Event()
        calling = asyncio.create_task(call_until_joined(up, is_joined))
        await is_joined.wait()
        async with http.post(f"http://{pod}/drainz") as post:
            assert post.status == 202
        dies = process_of_the_call(worker_of(up).pid, up.url)
        assert dies is not None
        dies.kill()

    async def has_seen_all() -> bool:
        fell_back = await watching.ask("voicefleet_provider_fallbacks_total > 0")
        waits = await watching.ask("voicefleet_drain_calls_left > 0")
        recorded = await watching.ask("voicefleet:calls_draining:sum > 0")
        went_on = await watching.ask("voicefleet_calls_resumed_total > 0")
        return bool(fell_back and waits and recorded and went_on)

    await wait_until(has_seen_all, because="a scrape saw the fallback, the drain and the death")
    # `status` shows the same, whomever it asks.
    (told,), (scraped,) = await asyncio.gather(
        endpoints.ask([pod]), seen_by_prometheus.ask(watching.url)
    )
    assert (told.phase, told.calls, told.slots) == ("draining", 1, 2)
    assert (scraped.phase, scraped.calls, scraped.slots) == ("draining", 1, 2)
    assert told.drain_seconds_left == pytest.approx(scraped.drain_seconds_left, abs=30)
    # A dashboard asks at steps: one of them lies behind what was just seen.
    await asyncio.sleep(2 * SCRAPE_EVERY_SECONDS)
    at = time.time()
    assert (await calling).first_audio_seconds is not None
    assert await exit_code_of(worker_of(up)) == ExitCode.OK
    return at


async def call_until_joined(up: Stack, is_joined: asyncio.Event) -> Timeline:
    def on_event(event: Event) -> None:
        if event.kind is EventKind.AGENT_JOINED:
            is_joined.set()

    return await caller.place_call(greeting_only(up), on_event=on_event)


async def without_an_answer(watching: Prometheus, span: Span) -> set[str]:
    """The questions of all dashboards that get none, of what is shown then."""
    prices = dict.fromkeys(PRICES, "1")
    found = set()
    for name in DASHBOARDS:
        _, panels = asking.read(FOLDER / f"{name}.json")
        for panel in panels:
            for target, series in await asking.ask(watching, panel, span, prices):
                values = [value for one in series for _, value in one.points]
                if all(value != value for value in values):
                    found.add(f"{name} / {panel.title} / {target.letter}")
    return found

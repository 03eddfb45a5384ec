"""What a real Prometheus makes of a pod's metrics: the questions that an operator asks."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.promises.conftest import RunStack
from tests.promises.test_pod import causes, endpoints_of, plan, worker_of
from tests.waiting import wait_until
from worker import errors
from worker.lab import caller, prometheus
from worker.telemetry import names

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


async def test_prometheus_answers_what_operations_ask_of_a_pod_with_calls(
    run_stack: RunStack, prometheus_binary: Path, tmp_path: Path
) -> None:
    async with run_stack("assistant", WORKER_SLOTS="2") as up:
        pod = (await endpoints_of(worker_of(up))).removeprefix("http://")
        async with prometheus.run(prometheus_binary, [pod], tmp_path) as watching:
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

"""Every call can be seen: one trace, one set of metrics, logs that join them, no caller in any."""

import asyncio
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.promises.conftest import RunStack
from tests.promises.test_pod import (
    ASSISTANT,
    call_when,
    endpoints_of,
    exit_code_of,
    plan,
    worker_of,
)
from tests.waiting import wait_until
from voicefleet.errors import ExitCode
from voicefleet.lab import caller, otlp_receiver, timeline, worker_log
from voicefleet.lab.killing import process_of_the_call
from voicefleet.lab.otlp_receiver import Health, ReceivedSpan
from voicefleet.lab.stack import Stack
from voicefleet.lab.timeline import EventKind

pytestmark = pytest.mark.server

# The question that has a tool called, and the goodbye.
SHORT = replace(ASSISTANT, exchanges=(ASSISTANT.exchanges[0], ASSISTANT.exchanges[-1]))


def is_call(span: ReceivedSpan) -> bool:
    return span.name == "call"


async def counted(up: Stack) -> dict[tuple[str, ...], float]:
    """Every sample: the name, then the values of its labels in the order of their names."""
    url = await endpoints_of(worker_of(up))
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
        text = await answer.text()
    return {
        (sample.name.removeprefix("voicefleet_"), *(v for _, v in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def records(up: Stack) -> list[dict[str, Any]]:
    return list(worker_log.records(worker_of(up).log))


def kill_the_call(up: Stack) -> None:
    process = process_of_the_call(worker_of(up).pid, up.url)
    assert process is not None
    process.kill()


async def test_a_call_is_one_whole_trace_its_turns_are_counted_and_its_logs_join_it(
    run_stack: RunStack, tmp_path: Path
) -> None:
    """On Python 3.11 a stock worker loses the root span and the last ones, or all of them."""
    (tmp_path / "reports").mkdir()
    async with otlp_receiver.listening() as collector:
        telling = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "VOICEFLEET_LOG_LEVEL": "DEBUG",
            "VOICEFLEET_REPORT_DIR": str(tmp_path / "reports"),
        }
        async with run_stack("assistant", VOICEFLEET_SLOTS="1", **telling) as up:
            done = await caller.place_call(replace(plan(up), conversation=SHORT))
            assert timeline.verdict(done) is None
            root = await collector.wait_for(is_call, within_seconds=20)
            after = await counted(up)
            logged = records(up)

    # One trace, with LiveKit's first span and its last ones, and nobody without a parent.
    assert {span.trace_id for span in collector.spans} == {root.trace_id}
    known = {span.span_id for span in collector.spans}
    assert [s.name for s in collector.spans if s.parent_id not in known] == ["call"]
    names = {span.name for span in collector.spans}
    assert {"job_entrypoint", "agent_turn", "user_turn", "job_shutdown", "room_disconnect"} <= names
    assert root.attributes["voicefleet.outcome"] == "completed"
    assert root.attributes["voicefleet.join_seconds"] <= done.agent_joined_seconds

    # Both sides' figures: LiveKit's own account, as the caller was told of it, turn by turn.
    for leg, theirs in (
        ("transcript", "transcription_delay"),
        ("end_of_turn", "end_of_turn_delay"),
        ("first_token", "llm_node_ttft"),
        ("first_audio", "tts_node_ttfb"),
        ("heard", "e2e_latency"),
    ):
        told = [turn.legs_seconds[theirs] for turn in done.turns[1:]]
        assert after["turn_seconds_count", leg] == len(told), leg
        assert after["turn_seconds_sum", leg] == pytest.approx(sum(told), abs=0.02), leg
    gaps = [turn.gap_seconds or 0.0 for turn in done.turns[1:]]
    assert after["turn_seconds_sum", "heard"] <= sum(gaps)
    assert after["calls_total", root.attributes["voicefleet.cause"], "completed"] == 1

    # Its report says the same, in a file and in the log.
    (path,) = (tmp_path / "reports").iterdir()
    report = json.loads(path.read_text())
    assert path.name == f"{root.attributes['job_id']}.json"
    assert [report] == [r["report"] for r in logged if r["message"] == "call report"]
    assert (report["outcome"], report["trace_id"]) == ("completed", root.trace_id)
    assert report["join_seconds"] == pytest.approx(root.attributes["voicefleet.join_seconds"], 0.01)
    assert report["turns"]["count"] == len(done.turns) - 1
    assert {leg["count"] for leg in report["turns"]["legs"].values()} == {len(done.turns) - 1}
    used = {(one["kind"], one["provider"]) for one in report["usage"]}
    assert {kind for kind, _ in used} == {"stt", "llm", "tts"}

    # The logs of its process carry the trace, and of what was said there is nothing anywhere.
    its_own = [record for record in logged if record.get("job_id") == root.attributes["job_id"]]
    assert {record["trace_id"] for record in its_own} == {root.trace_id}
    assert any(record.get("span_id") in known for record in its_own)
    everything = b"".join(collector.bodies) + json.dumps([logged, report]).encode()
    for private in (b"Saturday", b"library", b"caller-", done.room.encode()):
        assert private not in everything, private


async def test_a_call_that_went_on_has_one_trace_and_one_report(run_stack: RunStack) -> None:
    async with otlp_receiver.listening() as collector:
        telling = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        async with run_stack("assistant", VOICEFLEET_SLOTS="1", **telling) as up:
            has_answered = asyncio.Event()
            calling = asyncio.create_task(call_when(up, EventKind.AGENT_SPEAKS, has_answered))
            await has_answered.wait()
            await asyncio.sleep(1.0)
            kill_the_call(up)
            root = await collector.wait_for(is_call, within_seconds=60)
            await calling
            logged = records(up)
    assert root.attributes["voicefleet.resumes"] == 1
    assert 0 < float(root.attributes["voicefleet.silence_seconds"]) < 3
    assert not root.is_error
    (report,) = (record["report"] for record in logged if record["message"] == "call report")
    assert (report["outcome"], report["resumed"]["count"]) == ("completed", 1)
    names = [span.name for span in collector.trace(root.trace_id)]
    # The second process's, which came to its end; what the first had ended before is there too.
    assert names.count("job_entrypoint") == 1
    assert names.count("user_turn") >= 3


async def test_a_killed_call_has_its_trace_and_its_cause_though_the_collector_was_ill(
    run_stack: RunStack,
) -> None:
    """What the process ended a second before is with the pod, and the pod is patient."""
    async with otlp_receiver.listening() as collector:
        collector.health = Health.UNAVAILABLE
        telling = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "VOICEFLEET_LOG_LEVEL": "DEBUG",
            "VOICEFLEET_ALLOW_PII": "true",
            "VOICEFLEET_RESUME": "0",
        }
        async with run_stack("assistant", VOICEFLEET_SLOTS="1", **telling) as up:
            has_answered = asyncio.Event()
            calling = asyncio.create_task(call_when(up, EventKind.AGENT_SPEAKS, has_answered))
            await has_answered.wait()
            await asyncio.sleep(1.0)
            killed_at = time.time()
            kill_the_call(up)
            await asyncio.sleep(1.0)
            after = await counted(up)
            logged = records(up)
            collector.health = Health.WELL
            root = await collector.wait_for(is_call, within_seconds=30)
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)

    assert after["calls_total", "crashed", "failed"] == 1
    assert after["calls_active",] == 0
    assert root.attributes["voicefleet.cause"] == "crashed"
    assert root.is_error
    assert root.ended_at == pytest.approx(killed_at, abs=1.0)
    (report,) = (record["report"] for record in logged if record["message"] == "call report")
    assert (report["outcome"], report["cause"]) == ("failed", "crashed")
    assert report["turns"]["count"] >= 1
    assert {"by": "caller", "text": ASSISTANT.exchanges[0].caller} in report["pii.history"]
    trace = collector.trace(root.trace_id)
    assert {"user_turn", "function_tool", "llm_node"} <= {span.name for span in trace}
    assert "job_entrypoint" not in {span.name for span in trace}


@pytest.mark.parametrize("health", [Health.HANGING, Health.UNAVAILABLE, Health.GONE])
async def test_a_collector_that_is_ill_delays_no_call_and_no_exit(
    run_stack: RunStack, health: Health
) -> None:
    """So for whoever receives the reports, which is the same here: it is ill in the same way."""
    async with otlp_receiver.listening(health=health) as collector:
        telling = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "VOICEFLEET_REPORT_URL": f"{collector.url}/v1/traces",
        }
        async with run_stack("assistant", VOICEFLEET_SLOTS="1", **telling) as up:
            worker = worker_of(up)
            greeted = caller.plan_from_lines([], [], greeting=ASSISTANT.greeting)
            done = await caller.place_call(replace(plan(up), conversation=greeted))
            hung_up = time.monotonic()
            await wait_until(lambda: is_over(up), because="the call is over")
            assert time.monotonic() - hung_up < 5.0
            assert done.agent_joined_seconds < 3.0
            assert collector.requests > 0 or health is Health.GONE
            told = time.monotonic()
            os.kill(worker.pid, signal.SIGTERM)
            assert await exit_code_of(worker) == ExitCode.OK
            assert time.monotonic() - told < 8.0
            # Nothing is lost in silence.
            (left,) = (r for r in records(up) if r["message"] == "call report not delivered")
            assert left["report"]["outcome"] == "completed"


def is_over(up: Stack) -> bool:
    return any(record["message"] == "call over" for record in records(up))

"""What the pod promises of its calls: each has a slot, and no signal to the pod ends one."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from typing import Any

import aiohttp
import psutil
import pytest

from tests.promises.conftest import RunStack
from tests.waiting import wait_until
from voicefleet import errors
from voicefleet.errors import ExitCode
from voicefleet.lab import caller, conversation, processes, worker_log
from voicefleet.lab.caller import CallPlan
from voicefleet.lab.processes import Running
from voicefleet.lab.stack import Stack
from voicefleet.lab.timeline import Event, EventKind, Timeline

pytestmark = [pytest.mark.server, pytest.mark.alone]

# A kubelet's default is 1 s.
PROBE_SECONDS = 1.0
PROBES = ("startupz", "livez", "readyz")
ASSISTANT = conversation.load("assistant")


def plan(up: Stack) -> CallPlan:
    return CallPlan(
        *(up.url, up.api_key, up.api_secret, up.agent_name, ASSISTANT),
        join_timeout_seconds=20.0,
        answer_timeout_seconds=40.0,
    )


def greeting_only(up: Stack) -> CallPlan:
    """A caller who hears the greeting, and hangs up."""
    return replace(
        plan(up), conversation=caller.plan_from_lines([], [], greeting=ASSISTANT.greeting)
    )


def is_whole(done: Timeline) -> bool:
    """Whether the call was held to its last word: each turn was answered, the goodbye too. Whether
    both sides understood each other is another promise (`test_calls`).
    """
    said_last = ASSISTANT.exchanges[-1].agent
    is_answered = all(turn.answered_at_seconds is not None for turn in done.turns)
    return is_answered and done.turns[-1].agent_said == said_last


async def call_when(up: Stack, kind: EventKind, then: asyncio.Event) -> Timeline:
    """A whole call; sets the event at the first happening of this kind."""

    def on_event(event: Event) -> None:
        if event.kind is kind:
            then.set()

    return await caller.place_call(plan(up), on_event=on_event)


def worker_of(up: Stack) -> Running:
    return next(part for part in up.parts if part.name == "worker")


def logged(up: Stack, event: str) -> list[dict[str, Any]]:
    """What the worker has logged of this event."""
    return [r for r in worker_log.records(worker_of(up).log) if r["message"] == event]


def causes(up: Stack) -> list[str]:
    return sorted(str(record["cause"]) for record in logged(up, "call over"))


async def exit_code_of(worker: Running) -> int | None:
    return await asyncio.to_thread(psutil.Process(worker.pid).wait, 60)


@pytest.mark.parametrize("to_the_group", [False, True], ids=["twice", "to the group"])
async def test_a_call_goes_on_to_its_end_when_the_pod_is_told_to_stop(
    run_stack: RunStack, to_the_group: bool
) -> None:
    """A stock worker drops every call at a second SIGTERM, and at one to its process group."""
    async with run_stack("assistant", VOICEFLEET_SLOTS="2") as up:
        worker, is_talking = worker_of(up), asyncio.Event()
        calling = asyncio.create_task(call_when(up, EventKind.CALLER_SPEAKS, is_talking))
        await is_talking.wait()
        for _ in range(3):
            if to_the_group:
                os.killpg(os.getpgid(worker.pid), signal.SIGTERM)
            else:
                os.kill(worker.pid, signal.SIGTERM)
            await asyncio.sleep(0.3)
        assert is_whole(await calling)
        assert await exit_code_of(worker) == ExitCode.OK


async def test_a_pod_told_to_stop_while_it_is_offered_a_call_keeps_it_or_refuses_it(
    run_stack: RunStack,
) -> None:
    async with run_stack("assistant", VOICEFLEET_SLOTS="1") as up:
        worker, is_dispatched = worker_of(up), asyncio.Event()
        calling = asyncio.create_task(call_when(up, EventKind.DISPATCHED, is_dispatched))
        await is_dispatched.wait()
        os.kill(worker.pid, signal.SIGTERM)
        (done,) = await asyncio.gather(calling, return_exceptions=True)
        assert await exit_code_of(worker) == ExitCode.OK
        taken = len(causes(up))
    if isinstance(done, errors.NoAgentError):
        assert taken == 0
    else:
        assert isinstance(done, Timeline)
        assert (is_whole(done), taken) == (True, 1)


async def test_a_burst_of_more_calls_than_slots_fills_every_slot_and_no_more(
    run_stack: RunStack,
) -> None:
    """Each call that has a slot is answered, and the others are refused at once."""
    async with run_stack("assistant", VOICEFLEET_SLOTS="2") as up, aiohttp.ClientSession() as http:
        pod = await endpoints_of(worker_of(up))
        joined = [asyncio.Event() for _ in range(4)]
        calls = [
            asyncio.create_task(call_when(up, EventKind.AGENT_JOINED, event)) for event in joined
        ]
        probing = asyncio.create_task(answer_times(http, pod, joined))
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert max(await probing) < PROBE_SECONDS
    refused = [d for d in done if isinstance(d, errors.NoAgentError)]
    answered = [d for d in done if isinstance(d, Timeline)]
    assert (len(answered), len(refused)) == (2, 2), done
    assert [is_whole(done) for done in answered] == [True, True]


async def test_a_pod_that_is_told_to_drain_shows_it_takes_no_new_call_and_ends_its_own(
    run_stack: RunStack,
) -> None:
    token = {"VOICEFLEET_DRAIN_TOKEN": "a secret of the pod's own"}
    async with (
        run_stack("assistant", VOICEFLEET_SLOTS="2", **token) as up,
        aiohttp.ClientSession() as http,
    ):
        worker, is_talking = worker_of(up), asyncio.Event()
        pod = await endpoints_of(worker)
        calling = asyncio.create_task(call_when(up, EventKind.CALLER_SPEAKS, is_talking))
        await is_talking.wait()
        assert [await status(http, f"{pod}/{probe}") for probe in PROBES] == [200, 200, 200]
        calls = psutil.Process(worker.pid).children(recursive=True)
        assert not any("VOICEFLEET_DRAIN_TOKEN" in process.environ() for process in calls)

        async with http.post(f"{pod}/drainz") as answer:
            drain = await answer.json()
        assert (answer.status, drain["phase"], drain["calls"]) == (202, "draining", 1)
        assert [await status(http, f"{pod}/{probe}") for probe in PROBES] == [200, 200, 503]
        with pytest.raises(errors.NoAgentError):
            await caller.place_call(replace(plan(up), join_timeout_seconds=3.0))

        assert is_whole(await calling)
        assert await exit_code_of(worker) == ExitCode.OK


async def test_a_call_is_answered_while_a_neighbour_keeps_every_core_busy(
    run_stack: RunStack,
) -> None:
    """A stock worker reports the machine's CPU as its load, is offered nothing, and the caller
    hears silence.
    """
    async with run_stack("assistant", VOICEFLEET_SLOTS="2") as up:
        neighbours = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass")
            for _ in range(os.cpu_count() or 2)
        ]
        try:
            # Longer than the 2.5 s for which a stock worker averages, and between its reports.
            await asyncio.sleep(8.0)
            done = await caller.place_call(greeting_only(up))
        finally:
            for neighbour in neighbours:
                neighbour.kill()
                await neighbour.wait()
    assert done.agent_joined_seconds > 0
    assert done.first_audio_seconds is not None


async def endpoints_of(worker: Running) -> str:
    line = await processes.wait_for_line(
        worker, lambda line: '"endpoints listen"' in line, within_seconds=20
    )
    return f"http://127.0.0.1:{json.loads(line)['port']}"


async def answer_times(
    http: aiohttp.ClientSession, pod: str, joined: list[asyncio.Event]
) -> list[float]:
    """How long each endpoint takes while every slot is busy, ten times each, in seconds."""
    await wait_until(lambda: sum(event.is_set() for event in joined) == 2, because="slots are full")
    loop, times = asyncio.get_running_loop(), []
    for path in (*PROBES, "drainz") * 10:
        began_at = loop.time()
        assert await status(http, f"{pod}/{path}") == 200
        times.append(loop.time() - began_at)
        await asyncio.sleep(0.2)
    return times


async def status(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as answer:
        return answer.status

"""`bench`: calls on this machine, and where their time goes; what they cost, and what telemetry
costs them.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from voicefleet import settings as settings_module
from voicefleet.cli import report, signals
from voicefleet.cli.demo_call import endpoints_url
from voicefleet.errors import CallError, ExitCode
from voicefleet.lab import (
    breakdown,
    caller,
    conversation,
    cost,
    livekit_server,
    otlp_receiver,
    stack,
    timeline,
)
from voicefleet.lab.breakdown import Request
from voicefleet.lab.caller import CallPlan
from voicefleet.lab.cost import Footprint, Round
from voicefleet.lab.stack import Plan, Stack
from voicefleet.lab.timeline import Timeline

NO_TELEMETRY = (("OTEL_SDK_DISABLED", "true"),)


def bench(
    calls: Annotated[int, typer.Option(min=1, help="How many, one after the other.")] = 10,
    agent: Annotated[str, typer.Option(help="An agent that ships with voicefleet.")] = "assistant",
    telemetry: Annotated[
        bool,
        typer.Option("--telemetry", help="Measure the CPU of calls with and without telemetry."),
    ] = False,
    footprint: Annotated[
        bool, typer.Option("--footprint", help="Measure the CPU and the memory of each call.")
    ] = False,
) -> int:
    """Place calls and print each leg as min, median and max, with the stand-ins' share of it.

    This is a benchmark, not a test: the figures are of this machine and this moment.
    """
    binary = settings_module.load().lab.livekit_server_bin
    if telemetry:
        return signals.run(_measure_telemetry(agent, calls, binary))
    if footprint:
        return signals.run(_measure_footprint(agent, calls, binary))
    return signals.run(_measure_legs(agent, calls, binary))


@asynccontextmanager
async def _stack_of(agent: str, binary: Path | None) -> AsyncIterator[Stack]:
    """One with this agent; its logs stay where something went wrong."""
    server = await livekit_server.obtain(binary=binary, progress=print)
    folder = stack.new_folder()
    plan = Plan(conversation.load(agent).agent, agent, folder, server)
    async with stack.run(plan, lambda *_: None) as up:
        yield up
    shutil.rmtree(folder)


async def _measure_legs(agent: str, calls: int, binary: Path | None) -> int:
    async with _stack_of(agent, binary) as up:
        timelines = []
        for number in range(1, calls + 1):
            done = await _call(up, agent)
            timelines.append(done)
            gaps = [g for turn in done.turns if (g := turn.gap_seconds) is not None]
            joined = f"joined after {done.agent_joined_seconds:.2f} s"
            print(f"call {number:>2}: {joined}; gaps {report.spread(gaps)}", flush=True)
        requests = await _provider_requests(up)
    print(f"\n{breakdown.table(breakdown.legs(timelines, requests))}")
    return ExitCode.OK


async def _provider_requests(up: Stack) -> list[Request]:
    """What the stand-ins were asked, and when they answered."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{up.providers_url}/lab/requests") as response,
    ):
        document = await response.json()
    return [
        Request(r["provider"], r["kind"], r["arrived"], r["first_answer"])
        for r in document["requests"]
    ]


async def _measure_footprint(agent: str, calls: int, binary: Path | None) -> int:
    found: list[Footprint] = []
    async with _stack_of(agent, binary) as up:
        for number in range(1, calls + 1):
            scales = cost.Scales(_worker_pid(up), up.url)
            weighing = asyncio.create_task(scales.weigh(), name="weigh the call")
            try:
                await _call(up, agent)
            finally:
                weighing.cancel()
                await asyncio.gather(weighing, return_exceptions=True)
            if (one := scales.footprint()) is not None:
                found.append(one)
                print(f"call {number:>2}: {one.cores:.3f} cores, {one.own_mib:.0f} MiB", flush=True)
    cores, memory = ([getattr(one, name) for one in found] for name in ("cores", "own_mib"))
    weighed = f"{len(found)} of {calls} weighed"
    print(f"\nthe process of a call of {agent}, in its steady state ({weighed})")
    print(f"  CPU in cores         {report.spread(cores, unit='')}")
    print(f"  memory of its own    {report.spread(memory, unit='MiB')}")
    return ExitCode.OK


def _worker_pid(up: Stack) -> int:
    return next(part.pid for part in up.parts if part.name == "worker")


async def _measure_telemetry(agent: str, rounds: int, binary: Path | None) -> int:
    """Run three stacks, one of them with telemetry, and place a call on each in every round."""
    server = await livekit_server.obtain(binary=binary, progress=print)
    folders = [stack.new_folder() for _ in range(3)]
    async with AsyncExitStack() as running:
        collector = await running.enter_async_context(otlp_receiver.listening())
        with_telemetry = (("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url),)
        stacks = [
            await running.enter_async_context(
                stack.run(Plan(agent, agent, folder, server, (), extra), lambda *_: None)
            )
            for folder, extra in zip(
                folders, (with_telemetry, NO_TELEMETRY, NO_TELEMETRY), strict=True
            )
        ]
        done: list[Round] = []
        for number in range(rounds):
            try:
                done.append(await _round(stacks, agent, first=number))
            except CallError as error:
                # A machine too busy for a call says nothing of what a call costs.
                print(f"round {number + 1} is left out: {error.problem}", flush=True)
            else:
                print(f"round {number + 1} of {rounds}: {done[-1].ratio:.3f}", flush=True)
        print(f"\n{len(collector.spans)} spans were exported\n{cost.table(done)}")
    for folder in folders:
        shutil.rmtree(folder)
    return ExitCode.OK


async def _round(stacks: Sequence[Stack], agent: str, *, first: int) -> Round:
    """A call on each stack, of which the first has telemetry. Another one begins in each round."""
    cpu_seconds = [0.0] * len(stacks)
    for number in range(len(stacks)):
        index = (first + number) % len(stacks)
        measure = _cpu_seconds_of_a_call if index else _cpu_seconds_of_a_scraped_call
        cpu_seconds[index] = await measure(stacks[index], agent)
    return Round(*cpu_seconds)


async def _cpu_seconds_of_a_scraped_call(up: Stack, agent: str) -> float:
    """With the pod's metrics scraped meanwhile, as Prometheus does."""
    scraping = asyncio.create_task(cost.scraping(endpoints_url(up)), name="scrape the pod")
    try:
        return await _cpu_seconds_of_a_call(up, agent)
    finally:
        scraping.cancel()
        await asyncio.gather(scraping, return_exceptions=True)


async def _cpu_seconds_of_a_call(up: Stack, agent: str) -> float:
    async def call() -> None:
        await _call(up, agent)

    return await cost.of_call(_worker_pid(up), call)


async def _call(up: Stack, agent: str) -> Timeline:
    """:raises CallError: if caller and agent did not understand each other."""
    script = conversation.load(agent)
    plan = CallPlan(up.url, up.api_key, up.api_secret, up.agent_name, script)
    done = await caller.place_call(plan)
    if (problem := timeline.verdict(done)) is not None:
        raise problem
    return done

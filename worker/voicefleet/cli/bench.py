"""`bench --telemetry`: what it costs a call to be seen, against a worker that shows nothing."""

import asyncio
import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from voicefleet import settings as settings_module
from voicefleet.cli import report, signals
from voicefleet.cli.demo import endpoints_url
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
from voicefleet.lab.cost import Round
from voicefleet.lab.stack import Plan, Stack
from voicefleet.lab.timeline import Timeline


def bench(
    calls: Annotated[int, typer.Option(min=1, help="How many, one after the other.")] = 10,
    agent: Annotated[str, typer.Option(help="An agent that ships.")] = "assistant",
    telemetry: Annotated[
        bool,
        typer.Option("--telemetry", help="Instead: the CPU of as many calls, seen and unseen."),
    ] = False,
) -> int:
    """Place the calls and print each leg as min, median and max, with the stand-ins' share.

    A benchmark, not a test: the figures are this machine's, now.
    """
    binary = settings_module.load().lab.livekit_server_bin
    if telemetry:
        return signals.run(measure(agent, calls, binary))
    return signals.run(_bench(agent, calls, binary))


async def _bench(agent: str, calls: int, binary: Path | None) -> int:
    server = await livekit_server.obtain(binary=binary, progress=print)
    folder = stack.new_folder()
    plan = stack.Plan(conversation.load(agent).agent, agent, folder, server)
    async with stack.run(plan, lambda *_: None) as up:
        timelines = []
        for number in range(1, calls + 1):
            done = await _call(up, agent)
            timelines.append(done)
            gaps = [g for turn in done.turns if (g := turn.gap_seconds) is not None]
            joined = f"joined after {done.agent_joined_seconds:.2f} s"
            print(f"call {number:>2}: {joined}; gaps {report.spread(gaps)}", flush=True)
        requests = await _requests(up)
    shutil.rmtree(folder)
    print(f"\n{breakdown.table(breakdown.legs(timelines, requests))}")
    return ExitCode.OK


async def _call(up: Stack, agent: str) -> Timeline:
    script = conversation.load(agent)
    done = await caller.place_call(
        CallPlan(up.url, up.api_key, up.api_secret, up.agent_name, script)
    )
    if (problem := timeline.verdict(done)) is not None:
        raise problem
    return done


async def _requests(up: Stack) -> list[Request]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{up.providers_url}/lab/requests") as response,
    ):
        document = await response.json()
    return [
        Request(r["provider"], r["kind"], r["arrived"], r["first_answer"])
        for r in document["requests"]
    ]


NOTHING = (("OTEL_SDK_DISABLED", "true"),)


async def measure(agent: str, rounds: int, binary: Path | None) -> int:
    """Three stacks, one of them with telemetry, and a call on each in turn; who is first changes
    from round to round.
    """
    server = await livekit_server.obtain(binary=binary, progress=print)
    folders = [stack.new_folder() for _ in range(3)]
    async with AsyncExitStack() as running:
        collector = await running.enter_async_context(otlp_receiver.listening())
        everything = (("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url),)
        seen, *unseen = [
            await running.enter_async_context(
                stack.run(Plan(agent, agent, folder, server, (), extra), lambda *_: None)
            )
            for folder, extra in zip(folders, (everything, NOTHING, NOTHING), strict=True)
        ]
        done: list[Round] = []
        for number in range(rounds):
            try:
                done.append(await _round(seen, unseen, agent, first=number))
            except CallError as error:
                # A machine too busy for a call says nothing of what a call costs.
                print(f"round {number + 1} is left out: {error.problem}", flush=True)
            else:
                print(f"round {number + 1} of {rounds}: {done[-1].ratio:.3f}", flush=True)
        print(f"\n{len(collector.spans)} spans were exported\n{cost.table(done)}")
    for folder in folders:
        shutil.rmtree(folder)
    return ExitCode.OK


async def _round(seen: Stack, unseen: Sequence[Stack], agent: str, *, first: int) -> Round:
    calls = [partial(_seen, seen), *(partial(_unseen, up) for up in unseen)]
    cpu_seconds = [0.0] * len(calls)
    for number in range(len(calls)):
        whose = (first + number) % len(calls)
        cpu_seconds[whose] = await calls[whose](agent)
    return Round(*cpu_seconds)


async def _seen(up: Stack, agent: str) -> float:
    """A call with everything: its spans to a collector, and the pod scraped while it is on."""
    watching = asyncio.create_task(cost.scraping(endpoints_url(up)), name="scrape the pod")
    try:
        return await _unseen(up, agent)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _unseen(up: Stack, agent: str) -> float:
    worker = next(part for part in up.parts if part.name == "worker")
    script = conversation.load(agent)
    plan = CallPlan(up.url, up.api_key, up.api_secret, up.agent_name, script)

    async def call() -> None:
        if (problem := timeline.verdict(await caller.place_call(plan))) is not None:
            raise problem

    return await cost.of_call(worker.pid, call)

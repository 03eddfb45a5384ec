"""`bench --telemetry`: what it costs a call to be seen, against a worker that shows nothing."""

import asyncio
import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from worker.cli.trace_report import endpoints_url
from worker.errors import CallError, ExitCode
from worker.lab import caller, conversation, cost, livekit_binary, otlp_receiver, stack, timeline
from worker.lab.caller import CallPlan
from worker.lab.cost import Round
from worker.lab.stack import Plan, Stack

NOTHING = (("OTEL_SDK_DISABLED", "true"),)


async def measure(agent: str, rounds: int, binary: Path | None) -> int:
    """Three stacks, one of them with telemetry, and a call on each in turn; who is first changes
    from round to round.
    """
    server = await livekit_binary.obtain(binary=binary, progress=print)
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

"""`bench --telemetry`: what it costs a call to be seen, against a worker that shows nothing."""

import asyncio
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

from worker.cli.trace_report import endpoints_url
from worker.errors import CallError, ExitCode
from worker.lab import caller, conversation, cost, livekit_binary, otlp_receiver, stack, timeline
from worker.lab.caller import CallPlan
from worker.lab.cost import Round
from worker.lab.stack import Plan, Stack

NOTHING = (("OTEL_SDK_DISABLED", "true"),)


async def measure(agent: str, rounds: int, binary: Path | None) -> int:
    """Two stacks, and a call on each in turn; who is first changes from round to round."""
    server = await livekit_binary.obtain(binary=binary, progress=print)
    folders = [stack.new_folder(), stack.new_folder()]
    async with AsyncExitStack() as running:
        collector = await running.enter_async_context(otlp_receiver.listening())
        everything = (("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url),)
        seen, unseen = [
            await running.enter_async_context(
                stack.run(Plan(agent, agent, folder, server, (), extra), lambda *_: None)
            )
            for folder, extra in zip(folders, (everything, NOTHING), strict=True)
        ]
        done: list[Round] = []
        for number in range(rounds):
            try:
                done.append(await _round(seen, unseen, agent, is_first_seen=number % 2 == 0))
            except CallError as error:
                # A machine too busy for a call says nothing of what a call costs.
                print(f"round {number + 1} is left out: {error.problem}", flush=True)
            else:
                print(f"round {number + 1} of {rounds}: {done[-1].ratio:.3f}", flush=True)
        print(f"\n{len(collector.spans)} spans were exported\n{cost.table(done)}")
    for folder in folders:
        shutil.rmtree(folder)
    return ExitCode.OK


async def _round(seen: Stack, unseen: Stack, agent: str, *, is_first_seen: bool) -> Round:
    if is_first_seen:
        told, untold = await _seen(seen, agent), await _unseen(unseen, agent)
    else:
        untold, told = await _unseen(unseen, agent), await _seen(seen, agent)
    return Round(told, untold)


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

"""`bench`: calls one after the other on a stack of their own, and where the time of a turn goes."""

import shutil
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from worker import settings as settings_module
from worker.cli import report, running, telemetry_cost
from worker.errors import ExitCode
from worker.lab import breakdown, caller, conversation, livekit_binary, stack, timeline
from worker.lab.breakdown import Request
from worker.lab.caller import CallPlan
from worker.lab.stack import Stack
from worker.lab.timeline import Timeline


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
        return running.run(telemetry_cost.measure(agent, calls, binary))
    return running.run(_bench(agent, calls, binary))


async def _bench(agent: str, calls: int, binary: Path | None) -> int:
    server = await livekit_binary.obtain(binary=binary, progress=print)
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

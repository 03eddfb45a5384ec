"""What a worker costs: memory of an idle pod and of calls, CPU of a call, the time to start."""

import asyncio
import time
from collections.abc import Awaitable

from voicefleet.lab.compare import calls
from voicefleet.lab.compare.outcome import Drill, Figure, NotHeld, Outcome, Setting, Subject
from voicefleet.lab.compare.stage import SLOTS, Stage, World, cpu_seconds, weigh

STARTS = 3
CALLS_FOR_CPU = 2
IDLE_SECONDS = 6.0
# The call's process ends, and the next one is warmed: both belong to what a call costs.
AFTERWARDS_SECONDS = 3.0
# Two calls have grown to what they need by then.
INTO_THE_CALLS_SECONDS = 5.0


async def idle_memory(world: World, subject: Subject) -> Outcome:
    weight = weigh(await world.shared(subject))
    return Outcome(
        figures=(
            Figure("", (weight.total,), "MiB"),
            Figure("a warm process's own", weight.own, "MiB"),
        ),
        seen=f"{len(weight.jobs)} warm processes",
    )


async def call_memory(world: World, subject: Subject) -> Outcome:
    stage = await world.shared(subject)
    async with calls.on(stage, SLOTS):
        await asyncio.sleep(INTO_THE_CALLS_SECONDS)
        weight = weigh(stage)
    if not weight.calls:
        raise NotHeld("no process was seen in a call")
    warm = len(weight.jobs) - len(weight.calls)
    await asyncio.sleep(AFTERWARDS_SECONDS)
    return Outcome(
        figures=(
            Figure("the whole pod", (weight.total,), "MiB"),
            Figure("a call's process", weight.calls, "MiB"),
        ),
        seen=f"{warm} warm processes beside the calls",
    )


async def call_cpu(world: World, subject: Subject) -> Outcome:
    stage = await world.shared(subject)
    idle = await _cores(stage, asyncio.sleep(IDLE_SECONDS))
    cores = [await _call_cores(stage) for _ in range(CALLS_FOR_CPU)]
    return Outcome(
        figures=(
            Figure("", tuple(cores), "CPU seconds a second"),
            Figure("idle", (idle,), ""),
        ),
    )


async def _call_cores(stage: Stage) -> float:
    before, began = cpu_seconds(stage), time.monotonic()
    done = await calls.place(stage, calls.MIDDLING)
    lasted = time.monotonic() - began
    await asyncio.sleep(AFTERWARDS_SECONDS)
    if done.is_lost:
        raise NotHeld(f"a call to measure was lost: {done.problem}")
    return (cpu_seconds(stage) - before) / lasted


async def _cores(stage: Stage, meanwhile: Awaitable[None]) -> float:
    before, began = cpu_seconds(stage), time.monotonic()
    await meanwhile
    return (cpu_seconds(stage) - before) / (time.monotonic() - began)


async def start_time(world: World, subject: Subject) -> Outcome:
    while len(world.start_seconds[subject]) < STARTS:
        async with world.stage(subject):
            pass
    return Outcome(figures=(Figure("", tuple(world.start_seconds[subject]), "s"),))


DRILLS = (
    Drill("idle-memory", "Memory of a warm, idle pod (PSS)", idle_memory, Setting.SHARED),
    Drill("call-memory", "Memory with two calls on (PSS)", call_memory, Setting.SHARED),
    Drill("call-cpu", "CPU of a call, with the warming of the next", call_cpu, Setting.SHARED),
    Drill("start", "From the start of the process to warm and registered", start_time),
)

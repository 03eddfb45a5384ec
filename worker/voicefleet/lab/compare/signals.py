"""Told to stop with calls on: once, twice, and with the whole process group."""

import asyncio
import os
import signal
import time
from collections.abc import Callable

from voicefleet.lab.compare import calls
from voicefleet.lab.compare.outcome import Drill, Outcome, Subject
from voicefleet.lab.compare.stage import SLOTS, World, exit_code
from voicefleet.lab.processes import Running

BETWEEN_SIGNALS_SECONDS = 2.0
LEAVES_WITHIN_SECONDS = 90.0

Send = Callable[[Running], None]


async def once(world: World, subject: Subject) -> Outcome:
    return await _told_to_stop(world, subject, [_to_the_worker])


async def twice(world: World, subject: Subject) -> Outcome:
    return await _told_to_stop(world, subject, [_to_the_worker, _to_the_worker])


async def to_the_group(world: World, subject: Subject) -> Outcome:
    return await _told_to_stop(world, subject, [_to_the_group])


async def _told_to_stop(world: World, subject: Subject, sends: list[Send]) -> Outcome:
    async with world.stage(subject) as stage, calls.on(stage, SLOTS) as placed:
        leaving = asyncio.create_task(_leave(stage.worker, sends), name="told to stop")
        done = await asyncio.gather(*placed)
        how = await leaving
    lost = sum(call.is_lost for call in done)
    return Outcome(lost, len(done), seen=how, why=calls.problems(done))


async def _leave(worker: Running, sends: list[Send]) -> str:
    """Send the signals, and say how and when the worker left."""
    for number, send in enumerate(sends):
        if number:
            await asyncio.sleep(BETWEEN_SIGNALS_SECONDS)
        send(worker)
    began = time.monotonic()
    code = await exit_code(worker, within_seconds=LEAVES_WITHIN_SECONDS)
    took = time.monotonic() - began
    if code is None:
        return f"still there {took:.0f} s later"
    return f"{ended(code)} {took:.0f} s after the last signal"


def ended(code: int) -> str:
    """An exit code in words."""
    return f"exit {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"


def _to_the_worker(worker: Running) -> None:
    os.kill(worker.pid, signal.SIGTERM)


def _to_the_group(worker: Running) -> None:
    # The lab starts each worker in a session, and so in a group, of its own.
    os.killpg(worker.pid, signal.SIGTERM)


DRILLS = (
    Drill("sigterm", "SIGTERM with two calls on", once),
    Drill("sigterm-twice", "A second SIGTERM, 2 s later", twice),
    Drill("sigterm-group", "SIGTERM to the process group", to_the_group),
)

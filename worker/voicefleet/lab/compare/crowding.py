"""Too little room: every core busy with something else, and more calls at once than slots."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from voicefleet.lab.compare import calls
from voicefleet.lab.compare.calls import Call
from voicefleet.lab.compare.outcome import Drill, Figure, Outcome, Setting, Subject
from voicefleet.lab.compare.stage import SLOTS, World

# One call is as quick as the machine is at that moment, so the subjects take turns, often.
ALONE_ROUNDS = 15
BURST_ROUNDS = 6
# In which the processes of the last calls end and the next ones are warmed.
PAUSE_SECONDS = 3.0


async def alone(world: World, subject: Subject) -> Outcome:
    return await _joining(world, subject, 1)


async def burst(world: World, subject: Subject) -> Outcome:
    return await _joining(world, subject, SLOTS)


async def _joining(world: World, subject: Subject, count: int) -> Outcome:
    stage = await world.beside(subject)
    await asyncio.sleep(PAUSE_SECONDS)
    placing = [calls.place(stage, calls.GREETING) for _ in range(count)]
    return _outcome(await asyncio.gather(*placing))


def _outcome(done: Sequence[Call]) -> Outcome:
    joined = tuple(c.joined_seconds for c in done if c.joined_seconds is not None)
    heard = tuple(c.first_audio_seconds for c in done if c.first_audio_seconds is not None)
    figures = Figure("joined after", joined, "s"), Figure("heard after", heard, "s")
    return Outcome(
        lost=len(done) - len(heard),
        calls=len(done),
        why=calls.problems(done),
        figures=tuple(figure for figure in figures if figure.values),
    )


JOINING_DRILLS = (
    Drill(
        "join",
        "From the dispatch to the agent, one call",
        alone,
        Setting.IN_TURN,
        rounds=ALONE_ROUNDS,
    ),
    Drill(
        "join-burst",
        f"From the dispatch to the agent, {SLOTS} calls at the same moment",
        burst,
        Setting.IN_TURN,
        rounds=BURST_ROUNDS,
    ),
)


# Longer than the 2.5 s for which a stock worker averages, and between its reports.
BUSY_BEFORE_SECONDS = 8.0
CALLS_WHILE_BUSY = 3
CALLS_AT_ONCE = 2 * SLOTS


async def busy_cores(world: World, subject: Subject) -> Outcome:
    async with world.stage(subject) as stage, _busy_cores():
        await asyncio.sleep(BUSY_BEFORE_SECONDS)
        done = [await calls.place(stage, calls.GREETING) for _ in range(CALLS_WHILE_BUSY)]
    heard = tuple(c.first_audio_seconds for c in done if c.first_audio_seconds is not None)
    figures = (Figure("greeted after", heard, "s"),) if heard else ()
    return Outcome(len(done) - len(heard), len(done), figures, why=calls.problems(done))


async def more_than_slots(world: World, subject: Subject) -> Outcome:
    async with world.stage(subject) as stage:
        placing = [calls.place(stage, calls.MIDDLING) for _ in range(CALLS_AT_ONCE)]
        done = await asyncio.gather(*placing)
    taken = [call for call in done if call.is_taken]
    gaps = tuple(gap for call in taken for gap in call.gaps_seconds)
    return Outcome(
        lost=sum(call.is_lost for call in taken),
        calls=len(taken),
        why=calls.problems(taken),
        figures=(Figure("answers after", gaps, "s"),) if gaps else (),
        seen=f"took {len(taken)} of {len(done)}, and the others heard nobody",
    )


@asynccontextmanager
async def _busy_cores() -> AsyncIterator[None]:
    neighbours = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass")
        for _ in range(os.cpu_count() or 2)
    ]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            await neighbour.wait()


DRILLS = (
    Drill(
        "busy-cores",
        f"Another process keeps every core busy, and {CALLS_WHILE_BUSY} callers ring one after the"
        " other",
        busy_cores,
    ),
    Drill(
        "burst",
        f"{CALLS_AT_ONCE} calls at once on a pod of {SLOTS} slots (stock has no slots)",
        more_than_slots,
        is_ranked=False,
    ),
)

"""From the dispatch to the agent in the room: for a call alone, and for as many as there are slots
at the same moment.
"""

import asyncio
from collections.abc import Sequence

from worker.lab.compare import calls
from worker.lab.compare.calls import Call
from worker.lab.compare.outcome import Drill, Figure, Outcome, Setting, Subject
from worker.lab.compare.stage import SLOTS, World

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


DRILLS = (
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

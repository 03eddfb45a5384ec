"""From the dispatch to the agent in the room: for a call alone, and for as many as there are slots
at the same moment.
"""

import asyncio
from collections.abc import Sequence

from worker.lab.compare import calls
from worker.lab.compare.calls import Call
from worker.lab.compare.outcome import Drill, Figure, NotHeld, Outcome, Setting, Subject
from worker.lab.compare.stage import SLOTS, World

ALONE = 5
BURSTS = 3
# In which the processes of the last calls end and the next ones are warmed.
PAUSE_SECONDS = 3.0


async def alone(world: World, subject: Subject) -> Outcome:
    stage, done = await world.shared(subject), list[Call]()
    for _ in range(ALONE):
        await asyncio.sleep(PAUSE_SECONDS)
        done.append(await calls.place(stage, calls.GREETING))
    return _outcome(done)


async def burst(world: World, subject: Subject) -> Outcome:
    stage, done = await world.shared(subject), list[Call]()
    for _ in range(BURSTS):
        await asyncio.sleep(PAUSE_SECONDS)
        placing = [calls.place(stage, calls.GREETING) for _ in range(SLOTS)]
        done += await asyncio.gather(*placing)
    return _outcome(done)


def _outcome(done: Sequence[Call]) -> Outcome:
    joined = tuple(c.joined_seconds for c in done if c.joined_seconds is not None)
    heard = tuple(c.first_audio_seconds for c in done if c.first_audio_seconds is not None)
    if not joined or not heard:
        raise NotHeld("no call was answered")
    return Outcome(
        lost=len(done) - len(heard),
        calls=len(done),
        why=calls.problems(done),
        figures=(Figure("joined after", joined, "s"), Figure("heard after", heard, "s")),
    )


DRILLS = (
    Drill("join", "From the dispatch to the agent, one call", alone, Setting.SHARED),
    Drill(
        "join-burst",
        f"From the dispatch to the agent, {SLOTS} calls at the same moment",
        burst,
        Setting.SHARED,
    ),
)

"""Holds the drills: which, in which order, and what becomes of one that fails."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import product

from worker import errors
from worker.lab.compare import crowding, footprint, joining, neighbours, outages, quiet, signals
from worker.lab.compare.outcome import Drill, Outcome, Setting, Subject
from worker.lab.compare.stage import World
from worker.lab.compare.table import Results

# In the order of the table.
DRILLS: tuple[Drill, ...] = (
    *crowding.DRILLS,
    *signals.DRILLS,
    *neighbours.DRILLS,
    *outages.DRILLS,
    # Memory of an idle pod is the first thing to be measured on the shared stage.
    *footprint.DRILLS,
    *joining.DRILLS,
)

LONGEST_REASON = 160

Step = tuple[Drill, Subject]
Say = Callable[[str], None]


def chosen(names: Iterable[str]) -> tuple[Drill, ...]:
    """The drills of these names, or all, in the order of the table.

    :raises UsageError: if there is no such drill.
    """
    wanted, known = set(names), {drill.name for drill in DRILLS}
    if unknown := wanted - known:
        raise errors.UsageError(
            f"there is no drill {', '.join(sorted(unknown))}",
            fix=f"choose among {', '.join(drill.name for drill in DRILLS)}",
        )
    return tuple(drill for drill in DRILLS if not wanted or drill.name in wanted)


async def run(world: World, drills: Sequence[Drill], say: Say) -> Results:
    """Every drill with every subject, each told when it is over."""
    results: dict[Step, Outcome] = {}
    total = len(drills) * len(Subject)

    async def hold(step: Step) -> None:
        drill, subject = step
        began = time.monotonic()
        results[step] = outcome = await held(drill, world, subject)
        took = time.monotonic() - began
        done = f"[{len(results):>2}/{total}] {took:4.0f} s  {drill.name:<13} {subject:<10}"
        say(f"{done} {outcome}")

    async def hold_each(steps: Iterable[Step]) -> None:
        for step in steps:
            world.busy_ratios.append(await quiet.wait())
            await hold(step)

    # One after the other: they measure, or need the machine for themselves.
    order = ordered(drills)
    await hold_each([*order[Setting.SHARED], *order[Setting.OWN]])
    await world.clear()

    # Those that only wait, and meanwhile the calm ones.
    async with asyncio.TaskGroup() as together:
        for step in order[Setting.WAITING]:
            together.create_task(hold(step), name=f"{step[0].name} {step[1]}")
        together.create_task(hold_each(order[Setting.CALM]), name="calm drills")
    return {(drill.name, subject): outcome for (drill, subject), outcome in results.items()}


def ordered(drills: Sequence[Drill]) -> dict[Setting, list[Step]]:
    """On the shared stage one subject's drills follow each other; else the subjects take turns."""
    of = {s: [drill for drill in drills if drill.setting is s] for s in Setting}
    order = {setting: list(product(of[setting], Subject)) for setting in Setting}
    order[Setting.SHARED].sort(key=lambda step: list(Subject).index(step[1]))
    return order


async def held(drill: Drill, world: World, subject: Subject) -> Outcome:
    """Its outcome; whatever goes wrong is the reason why there is none."""
    try:
        return await drill.run(world, subject)
    except errors.VoicefleetError as error:
        reason = error.problem
    except Exception as error:
        reason = str(error) or type(error).__name__
    return Outcome(failed=" ".join(reason.split())[:LONGEST_REASON])

"""Holds the drills: which, in which order, and what becomes of one that fails."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product

from voicefleet import errors
from voicefleet.lab.compare import crowding, deaths, footprint, neighbours, outages, signals, stage
from voicefleet.lab.compare.outcome import Drill, Outcome, Setting, Subject, together
from voicefleet.lab.compare.stage import World
from voicefleet.lab.compare.table import Results

# In the order of the table.
DRILLS: tuple[Drill, ...] = (
    *crowding.DRILLS,
    *signals.DRILLS,
    *deaths.DRILLS,
    *neighbours.DRILLS,
    *outages.DRILLS,
    # Memory of an idle pod is the first thing to be measured on the shared stage.
    *footprint.DRILLS,
    *crowding.JOINING_DRILLS,
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
    table = _Table(world, len(drills) * len(Subject), say)
    order = ordered(drills)

    # One after the other: they measure, or need the machine for themselves.
    await table.hold_each([*order[Setting.SHARED], *order[Setting.OWN]])
    await world.clear()
    for drill in dict(order[Setting.IN_TURN]):
        await table.hold_in_turn(drill)
    await world.clear()

    # Those that only wait, and meanwhile the calm ones.
    async with asyncio.TaskGroup() as beside:
        for step in order[Setting.WAITING]:
            beside.create_task(table.hold(step), name=f"{step[0].name} {step[1]}")
        beside.create_task(table.hold_each(order[Setting.CALM]), name="calm drills")
    return {(drill.name, subject): outcome for (drill, subject), outcome in table.rows.items()}


@dataclass(slots=True)
class _Table:
    """Fills with outcomes, and says each."""

    world: World
    total: int
    say: Say
    rows: dict[Step, Outcome] = field(default_factory=dict)

    async def hold(self, step: Step) -> None:
        began = time.monotonic()
        self._over(step, await held(step[0], self.world, step[1]), began)

    async def hold_each(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self.world.busy_ratios.append(await stage.wait())
            await self.hold(step)

    async def hold_in_turn(self, drill: Drill) -> None:
        self.world.busy_ratios.append(await stage.wait())
        began = time.monotonic()
        rounds: dict[Subject, list[Outcome]] = {subject: [] for subject in Subject}
        for number in range(drill.rounds):
            # Who is first changes too.
            for subject in sorted(Subject, reverse=number % 2 == 1):
                rounds[subject].append(await held(drill, self.world, subject))
        for subject, outcomes in rounds.items():
            self._over((drill, subject), together(outcomes), began)

    def _over(self, step: Step, outcome: Outcome, began: float) -> None:
        drill, subject = step
        self.rows[step] = outcome
        took = time.monotonic() - began
        done = f"[{len(self.rows):>2}/{self.total}] {took:4.0f} s  {drill.name:<13} {subject:<10}"
        self.say(f"{done} {outcome}")


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

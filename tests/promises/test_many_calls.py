"""What is left of many calls of all kinds: as much as before the first."""

import asyncio
import random
from dataclasses import dataclass

import psutil
import pytest

from tests.promises import crowd
from tests.promises.conftest import Host
from tests.promises.hosting import counted, drainz, metrics, over
from tests.promises.test_pod import worker_of
from tests.waiting import wait_until
from voicefleet.lab.stack import Stack

# 180 dispatches for 200 callers: those who reload the page come twice.
CALLS = {
    "answered": 60,
    "hung up": 40,
    "never joined": 20,
    "refused": 20,
    "raises": 10,
    "dies": 10,
    "reloaded": 20,
}
OVER_FOR = {
    "caller_left": CALLS["answered"] + CALLS["hung up"] + 2 * CALLS["reloaded"],
    "nobody_came": CALLS["never joined"],
    "error": CALLS["raises"],
    "crashed": CALLS["dies"],
}
AT_ONCE = 3
# Of the callers: LiveKit's client aborts a process in which many rooms were joined now and then.
CALLS_OF_A_PROCESS = 20
SLOTS = 8
# Of the parent, which is the pod's life long; what one call would leave shows after 200.
LEFT_BY_A_CALL_MIB = 0.05
# A connection to LiveKit's API, or of whoever asked the endpoints last.
SPARE_DESCRIPTORS = 4
STEADY_LOOKS = 40

MIB = 1024**2

# Beside others the pod itself stood still for seconds, and LiveKit gave its offers up.
pytestmark = [pytest.mark.server, pytest.mark.alone, pytest.mark.timeout(900)]


@dataclass(frozen=True, slots=True)
class Held:
    """What the pod holds when it has no call."""

    processes: int
    descriptors: int
    own_mib: float
    series: frozenset[str]


async def at_rest(up: Stack, slots: int = SLOTS) -> Held:
    """Once all calls are over, and no process has come or gone for a while."""
    parent = psutil.Process(worker_of(up).pid)
    seen = list[int]()

    async def rests() -> bool:
        now = await drainz(up)
        seen.append(len(parent.children(recursive=True)))
        is_idle = now["free_slots"] == slots and not any(now["calls_by_state"].values())
        return is_idle and len(seen) > STEADY_LOOKS and len(set(seen[-STEADY_LOOKS:])) == 1

    await wait_until(rests, because="the pod rests", timeout_seconds=60.0)
    samples = (line for line in (await metrics(up)).splitlines() if not line.startswith("#"))
    return Held(
        processes=seen[-1],
        descriptors=parent.num_fds(),
        own_mib=parent.memory_full_info().uss / MIB,
        series=frozenset(line.rpartition(" ")[0] for line in samples),
    )


async def place(up: Stack, kinds: list[str]) -> int:
    """Calls of these kinds, in this order, a few at a time; how many callers who came back at once
    went on with the call that they had.
    """
    free = asyncio.Semaphore(AT_ONCE)

    async def some(of_these: list[str]) -> int:
        async with free:
            return await crowd.call(up, of_these)

    async with asyncio.TaskGroup() as calling:
        starts = range(0, len(kinds), CALLS_OF_A_PROCESS)
        placed = [
            calling.create_task(some(kinds[start : start + CALLS_OF_A_PROCESS])) for start in starts
        ]
    return sum(task.result() for task in placed)


async def test_two_hundred_calls_of_all_kinds_are_counted_and_leave_nothing(host: Host) -> None:
    """Slots, processes, descriptors, memory and the series of metrics are what they were when each
    kind had been seen once.
    """
    kinds = [kind for kind, count in CALLS.items() for _ in range(count - 1)]
    random.Random(7).shuffle(kinds)
    short = {"VOICEFLEET_EMPTY_ROOM_SECONDS": "2", "VOICEFLEET_SLOTS": str(SLOTS)}
    async with host("mixed", **short) as up:
        before = await at_rest(up)
        went_on = await place(up, list(CALLS))
        first = await at_rest(up)
        went_on += await place(up, kinds)
        expected = OVER_FOR | {"caller_left": OVER_FOR["caller_left"] - went_on}
        await over(up, *(cause for cause, count in expected.items() for _ in range(count)))
        last = await at_rest(up)
        assert counted(await metrics(up)) == expected | {"agent_file": CALLS["refused"]}
    assert before.processes == first.processes == last.processes
    assert last.series == first.series
    assert last.descriptors <= first.descriptors + SPARE_DESCRIPTORS
    assert last.own_mib <= first.own_mib + LEFT_BY_A_CALL_MIB * len(kinds)

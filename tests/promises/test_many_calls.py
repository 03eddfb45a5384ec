"""What is left of many calls of all kinds: as much as before the first."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from tests.promises.conftest import Host
from tests.promises.hosting import counted, drainz, metrics, over
from tests.promises.test_pod import worker_of
from tests.promises.visitor import dispatch, new_room, visiting
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
SLOTS = 8
# Of the parent, which is the pod's life long; what one call would leave shows after 200.
LEFT_BY_A_CALL_MIB = 0.05
# A connection to LiveKit's API, or of whoever asked the endpoints last.
SPARE_DESCRIPTORS = 4
STEADY_LOOKS = 40

MIB = 1024**2

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]


async def answered(up: Stack) -> None:
    # Dispatched for when they are there: on a busy machine some need longer to connect than the
    # short time after which nobody has come.
    room = new_room()
    async with visiting(up, room) as visitor:
        await dispatch(up, room, "answered")
        await visitor.turns_on_a_microphone()
        await visitor.is_greeted()


async def hung_up(up: Stack) -> None:
    """In the greeting: it is begun when the agent can be heard."""
    room = new_room()
    async with visiting(up, room) as visitor:
        await dispatch(up, room, "answered")
        await visitor.turns_on_a_microphone()
        await visitor.meets_an_agent()


async def never_joined(up: Stack) -> None:
    await dispatch(up, new_room(), "answered")
    await asyncio.sleep(2.0)


async def refused(up: Stack) -> None:
    room = new_room()
    async with visiting(up, room):
        await dispatch(up, room, "refused")
        await asyncio.sleep(1.0)


async def reloaded(up: Stack) -> None:
    room = new_room()
    for _ in range(2):
        async with visiting(up, room, asks_for="mixed") as visitor:
            await visitor.turns_on_a_microphone()
            await visitor.is_greeted()


def crashed(how: str) -> Callable[[Stack], Coroutine[Any, Any, None]]:
    async def call(up: Stack) -> None:
        room = new_room()
        async with visiting(up, room) as visitor:
            await visitor.turns_on_a_microphone()
            await dispatch(up, room, how)
            await asyncio.sleep(2.0)

    return call


KINDS: dict[str, Callable[[Stack], Coroutine[Any, Any, None]]] = {
    "answered": answered,
    "hung up": hung_up,
    "never joined": never_joined,
    "refused": refused,
    "raises": crashed("raises"),
    "dies": crashed("dies"),
    "reloaded": reloaded,
}


@dataclass(frozen=True, slots=True)
class Held:
    """What the pod holds when it has no call."""

    processes: int
    descriptors: int
    own_mib: float
    series: frozenset[str]


async def at_rest(up: Stack) -> Held:
    """Once all calls are over, and no process has come or gone for a while."""
    parent = psutil.Process(worker_of(up).pid)
    seen = list[int]()

    async def rests() -> bool:
        now = await drainz(up)
        seen.append(len(parent.children(recursive=True)))
        is_idle = now["free_slots"] == SLOTS and not any(now["calls_by_state"].values())
        return is_idle and len(seen) > STEADY_LOOKS and len(set(seen[-STEADY_LOOKS:])) == 1

    await wait_until(rests, because="the pod rests", timeout_seconds=60.0)
    samples = (line for line in (await metrics(up)).splitlines() if not line.startswith("#"))
    return Held(
        processes=seen[-1],
        descriptors=parent.num_fds(),
        own_mib=parent.memory_full_info().uss / MIB,
        series=frozenset(line.rpartition(" ")[0] for line in samples),
    )


async def place(up: Stack, kinds: list[str]) -> None:
    """Calls of these kinds, in this order, a few at a time."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(kind: str) -> None:
        async with free:
            await KINDS[kind](up)

    async with asyncio.TaskGroup() as calling:
        for kind in kinds:
            calling.create_task(one(kind))


async def test_two_hundred_calls_of_all_kinds_are_counted_and_leave_nothing(host: Host) -> None:
    """Slots, processes, descriptors, memory and the series of metrics are what they were when each
    kind had been seen once.
    """
    kinds = [kind for kind, count in CALLS.items() for _ in range(count - 1)]
    random.Random(7).shuffle(kinds)
    short = {"VOICEFLEET_EMPTY_ROOM_SECONDS": "2", "VOICEFLEET_SLOTS": str(SLOTS)}
    async with host("mixed", **short) as up:
        before = await at_rest(up)
        await place(up, list(CALLS))
        first = await at_rest(up)
        await place(up, kinds)
        await over(up, *(cause for cause, count in OVER_FOR.items() for _ in range(count)))
        last = await at_rest(up)
        assert counted(await metrics(up)) == OVER_FOR | {"agent_file": CALLS["refused"]}
    assert before.processes == first.processes == last.processes
    assert last.series == first.series
    assert last.descriptors <= first.descriptors + SPARE_DESCRIPTORS
    assert last.own_mib <= first.own_mib + LEFT_BY_A_CALL_MIB * len(kinds)

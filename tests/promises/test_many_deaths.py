"""What is left of a hundred deaths over ten calls: ten calls, and nothing else."""

import contextlib
import re

import psutil
import pytest

from tests.promises.conftest import Host
from tests.promises.hosting import counted, drainz, metrics, over
from tests.promises.test_many_calls import LEFT_BY_A_CALL_MIB, SPARE_DESCRIPTORS, at_rest
from tests.promises.test_pod import worker_of
from tests.promises.visitor import Visitor, dispatch, new_room, visiting
from tests.waiting import wait_until
from voicefleet.lab import cost
from voicefleet.lab.stack import Stack

CALLS = 10
DEATHS = 100
# With their callers, ten at once are more than two cores have to spare.
AT_ONCE = 2
SLOTS = 4
OF_A_MODEL = re.compile(r'kind="llm"|model="gpt-4\.1"')
BACK_WITHIN_SECONDS = 30.0

pytestmark = [pytest.mark.server, pytest.mark.alone, pytest.mark.timeout(900)]


async def resumed(up: Stack) -> int:
    return await total(up, "voicefleet_calls_resumed_total")


async def total(up: Stack, name: str) -> int:
    lines = [line for line in (await metrics(up)).splitlines() if line.startswith(name)]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)


async def kill_each(up: Stack, calls: int) -> None:
    """The processes of all calls at once; and wait until they go on."""
    before = await resumed(up)
    processes = cost.call_processes(worker_of(up).pid, up.url)
    assert len(processes) == calls
    for process in processes:
        process.kill()

    async def go_on() -> bool:
        return await resumed(up) == before + calls

    await wait_until(go_on, because="the calls go on", timeout_seconds=BACK_WITHIN_SECONDS)


async def greeted(up: Stack, calls: contextlib.AsyncExitStack) -> Visitor:
    room = new_room()
    visitor = await calls.enter_async_context(visiting(up, room))
    await dispatch(up, room, "answered")
    await visitor.turns_on_a_microphone()
    await visitor.is_greeted()
    return visitor


async def test_a_hundred_deaths_cost_no_call_and_leave_nothing(host: Host) -> None:
    settings = {
        "VOICEFLEET_SLOTS": str(SLOTS),
        "VOICEFLEET_RESUME_MOST_A_MINUTE": str(DEATHS),
    }
    async with host("mixed", **settings) as up:
        async with contextlib.AsyncExitStack() as one:
            await greeted(up, one)
            await kill_each(up, 1)
        first = await at_rest(up, slots=SLOTS)

        for _ in range(CALLS // AT_ONCE):
            async with contextlib.AsyncExitStack() as together:
                visitors = [await greeted(up, together) for _ in range(AT_ONCE)]
                for _ in range(DEATHS // CALLS):
                    await kill_each(up, AT_ONCE)
                now = await drainz(up)
                assert now["calls_by_state"]["running"] == AT_ONCE
                assert all(len(visitor.agents()) == 1 for visitor in visitors)
                # Nobody was greeted twice.
                greetings = [sum("city library" in w for w in v.written) for v in visitors]
                assert greetings == [1] * AT_ONCE

        await over(up, *["caller_left"] * (CALLS + 1), within_seconds=30.0)
        last = await at_rest(up, slots=SLOTS)
        assert counted(await metrics(up)) == {"caller_left": CALLS + 1}
        assert await total(up, "voicefleet_job_deaths_total") == DEATHS + 1
        assert await total(up, "voicefleet_calls_not_resumed_total") == 0
        assert psutil.Process(worker_of(up).pid).is_running()
    assert last.processes == first.processes
    # A model is asked where a process dies before it has greeted.
    assert {s for s in last.series - first.series if not OF_A_MODEL.search(s)} == set()
    assert last.descriptors <= first.descriptors + SPARE_DESCRIPTORS
    assert last.own_mib <= first.own_mib + LEFT_BY_A_CALL_MIB * DEATHS

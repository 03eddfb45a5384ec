"""What a pod shows after many calls: as many series as before the first."""

from dataclasses import replace
from functools import partial

import aiohttp
import pytest

from tests.promises.conftest import RunStack
from tests.promises.test_pod import causes, endpoints_of, plan, worker_of
from tests.waiting import wait_until
from voicefleet.lab import caller
from voicefleet.lab.stack import Stack
from voicefleet.telemetry.messages import OUTCOMES, Cause, Outcome

CALLS = 100

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]


async def series_of(up: Stack) -> set[str]:
    """Every series that the pod's /metrics has now, by name and labels."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{await endpoints_of(worker_of(up))}/metrics") as answer,
    ):
        lines = (await answer.text()).splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def has_ended(up: Stack, calls: int) -> bool:
    return len(causes(up)) >= calls


async def test_a_hundred_calls_one_after_the_other_leave_the_series_of_the_first(
    run_stack: RunStack,
) -> None:
    """A whole call, in which all is used, then callers who hang up as soon as somebody is there."""
    async with run_stack("assistant", VOICEFLEET_SLOTS="2") as up:
        await caller.place_call(plan(up))
        await wait_until(lambda: len(causes(up)) == 1, because="the first call is over")
        after_one = await series_of(up)
        hangs_up = caller.plan_from_lines([])
        for number in range(2, CALLS + 1):
            # Rooms and callers have names of their own each time: none may become a label.
            await caller.place_call(
                replace(plan(up), conversation=hangs_up, greeting_timeout_seconds=0.1)
            )
            # One more may still be on its way out.
            await wait_until(partial(has_ended, up, number - 1), because="calls end as they come")
        await wait_until(lambda: len(causes(up)) == CALLS, because="every call is over")
        assert {OUTCOMES[Cause(cause)] for cause in causes(up)} == {Outcome.COMPLETED}
        assert await series_of(up) == after_one

"""Agent files that people run, hosted as they are: what is refused
is said, and counted by its cause.

The files are in `cases/`; beside each stand neighbours of its kind.
"""

from collections import Counter

import pytest

from tests.promises.conftest import Host
from tests.promises.hosting import (
    counted,
    is_answered,
    is_free,
    leaves_when_told,
    metrics,
    over,
)
from tests.promises.test_pod import logged
from tests.promises.visitor import dispatch, new_room, visiting
from tests.waiting import wait_until
from voicefleet.lab.stack import Stack

pytestmark = pytest.mark.server


async def refused_for(up: Stack, *metadata: str) -> Counter[str]:
    """The causes of the pod's refusals, after a dispatch for each."""
    for number, text in enumerate(metadata, 1):
        await dispatch(up, new_room(), text)
        await wait_until(
            lambda number=number: len(logged(up, "refused")) >= number,  # type: ignore[misc]
            because=f"a handler that {text} is refused",
        )
    return Counter(record["cause"] for record in logged(up, "refused"))


async def test_each_caller_whom_the_handler_does_not_take_is_logged_and_counted(
    host: Host,
) -> None:
    async with host("handler_raises", VOICEFLEET_SLOTS="1") as up:
        causes_ = await refused_for(up, "raises", "silent", "rejects")
        assert causes_ == {"agent_file_failed": 2, "agent_file": 1}
        assert counted(await metrics(up)) == causes_
        (raised,) = logged(up, "on_request raised")
        assert "no such tenant" in raised["exc_info"]
        async with visiting(up, room := new_room()) as visitor:
            await dispatch(up, room)
            agent = await visitor.meets_an_agent()
            assert (agent.identity, agent.name, agent.metadata) == ("desk-1", "Desk", "m")
            assert agent.attributes["tenant"] == "north"
        await over(up, "caller_left")


async def test_a_handler_that_hangs_or_answers_twice_is_one_refusal_and_takes_no_slot(
    host: Host,
) -> None:
    async with host("handler_answers", VOICEFLEET_SLOTS="1") as up:
        causes_ = await refused_for(up, "hangs", "twice", "leaves")
        assert causes_ == {"agent_file_failed": 2, "agent_file": 1}
        assert counted(await metrics(up)) == causes_
        assert logged(up, "a second answer to an offer is not sent")
        await is_free(up)
        for kind in ("blocks", "then raises"):
            await is_answered(up, kind)
            await is_free(up)
        await over(up, "caller_left", "caller_left")
        await leaves_when_told(up)

"""The telephone as it is: callers who hang up while it rings, and people who are called."""

import pytest

from tests.promises.conftest import RunStack
from tests.promises.test_pod import logged, worker_of
from tests.waiting import wait_until
from voicefleet.lab import telephony

pytestmark = pytest.mark.server

ANNA = "+15105550100"


async def test_a_caller_who_hangs_up_before_the_agent_has_joined_frees_the_slot(
    run_stack: RunStack,
) -> None:
    """The slot was taken for 20 s, until LiveKit closed the empty room: the agent waited without a
    bound for a caller whom it had not even seen leaving. Then it failed with a traceback, and the
    call counted as one whose room was closed.
    """
    async with run_stack("phone", script="phone", VOICEFLEET_SLOTS="1") as up:
        at = (up.url, up.api_key, up.api_secret)
        async with telephony.incoming(*at, agent_name="phone", room="early", number=ANNA):
            pass
        await wait_until(
            lambda: logged(up, "call over") != [],
            because="the slot is free again",
            timeout_seconds=5.0,
        )
        (over,) = logged(up, "call over")
        assert over["outcome"] == "completed"
        assert over["cause"] != "room_closed"
        assert "Traceback" not in worker_of(up).log.read_text()

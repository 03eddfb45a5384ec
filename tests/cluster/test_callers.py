"""What the table says of a call is the fleet's doing, and not that of the caller's own program."""

import multiprocessing
import os
import signal

import pytest

from tests.cluster.call import CallerBrokeError
from tests.cluster.callers import Callers
from tests.cluster.kubernetes import until

pytestmark = [
    pytest.mark.quick,
    pytest.mark.server,
    pytest.mark.asyncio(loop_scope="session"),
]


async def test_a_caller_whose_program_aborts_is_no_lost_call_and_ends_no_other(
    callers: Callers,
) -> None:
    broken, other = callers.dial(), callers.dial()
    rooms = {broken.room, other.room}
    await until("both have a process", lambda: rooms <= processes().keys(), within_seconds=20)
    os.kill(processes()[broken.room], signal.SIGABRT)
    with pytest.raises(CallerBrokeError, match="ended by SIGABRT"):
        await broken.heard()
    assert other.is_on
    assert not (await other.hang_up()).is_lost


def processes() -> dict[str, int]:
    return {p.name: p.pid for p in multiprocessing.active_children() if p.pid is not None}

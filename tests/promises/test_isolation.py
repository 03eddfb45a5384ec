"""What one call does to the others, and to its pod: nothing."""

from pathlib import Path

import pytest
from livekit import api

from tests.promises.conftest import RunStack
from tests.promises.test_pod import causes, greeting_only, is_whole, logged, plan
from tests.waiting import wait_until
from voicefleet.lab import caller
from voicefleet.lab.stack import Stack

pytestmark = [pytest.mark.server, pytest.mark.alone]

DRILL_AGENT = Path(__file__).with_name("drill_agent.py")
MIB = 1024**2
# LiveKit kills a call whose event loop has not turned for 60 s, and weighs each every 5 s.
KILLED_WITHIN_SECONDS = 100.0


async def begin(up: Stack, room: str) -> None:
    """A call without a caller: its agent does what the room is named for."""
    async with api.LiveKitAPI(up.url, up.api_key, up.api_secret) as livekit:
        await livekit.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(agent_name=up.agent_name, room=room)
        )


async def test_a_call_that_leaks_crashes_blocks_or_fails_ends_alone_and_its_cause_is_known(
    run_stack: RunStack,
) -> None:
    """A stock worker lets the leak go on until the kernel ends every call of the pod."""
    memory = {
        "VOICEFLEET_CALL_MEMORY_WARN_BYTES": str(400 * MIB),
        "VOICEFLEET_CALL_MEMORY_LIMIT_BYTES": str(700 * MIB),
        # Each would go on, be ill again, and end for the same cause in the end.
        "VOICEFLEET_RESUME": "0",
    }
    async with run_stack(str(DRILL_AGENT), VOICEFLEET_SLOTS="5", **memory) as up:
        for drill in ("leak", "crash", "block", "fail"):
            await begin(up, f"{drill}-drill")
        healthy = await caller.place_call(plan(up))
        assert is_whole(healthy)
        await wait_until(
            lambda: len(causes(up)) == 5,
            because=f"every call is over, and not only {causes(up)}",
            timeout_seconds=KILLED_WITHIN_SECONDS,
        )
        assert causes(up) == ["caller_left", "crashed", "error", "memory", "unresponsive"]
        warnings = "job process memory usage is above the warning threshold"
        assert logged(up, warnings)

        # The pod has its slots back, and takes the next call.
        greeted = await caller.place_call(greeting_only(up))
        assert greeted.first_audio_seconds is not None

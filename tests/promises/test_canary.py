"""What ops/runbooks/planned/canary.md relies on: LiveKit keeps a deployment's calls apart."""

import pytest
from livekit import api

from tests.promises.conftest import RunStack
from tests.waiting import wait_until

pytestmark = pytest.mark.server

# Written as the runbook has it.
DEPLOYMENT = "canary"


async def test_a_canary_gets_the_dispatches_with_its_key_and_no_others(run_stack: RunStack) -> None:
    async with run_stack("assistant", LIVEKIT_AGENT_DEPLOYMENT=DEPLOYMENT) as up:
        url = up.url.replace("ws://", "http://")
        async with api.LiveKitAPI(url, up.api_key, up.api_secret) as livekit:

            async def dispatch(room: str, deployment: str) -> None:
                await livekit.agent_dispatch.create_dispatch(
                    api.CreateAgentDispatchRequest(
                        agent_name=up.agent_name, room=room, deployment=deployment
                    )
                )

            async def has_agent(room: str) -> bool:
                asked = api.ListParticipantsRequest(room=room)
                found = await livekit.room.list_participants(asked)
                return bool(found.participants)

            # The one without the key is first: when the other has its agent, it had its time.
            await dispatch("for-the-first-release", "")
            await dispatch("for-the-canary", DEPLOYMENT)
            await wait_until(
                lambda: has_agent("for-the-canary"), because="the canary answers its own"
            )
            assert not await has_agent("for-the-first-release")
            for room in ("for-the-first-release", "for-the-canary"):
                await livekit.room.delete_room(api.DeleteRoomRequest(room=room))

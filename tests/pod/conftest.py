"""What the tests of the pod's life share: the two stand-ins."""

from collections.abc import AsyncIterator

import pytest

from tests.pod.livekit_stand_in import LiveKitStandIn
from tests.pod.pool_stand_in import PoolStandIn


@pytest.fixture
async def livekit() -> AsyncIterator[LiveKitStandIn]:
    async with LiveKitStandIn.running() as stand_in:
        yield stand_in


@pytest.fixture
async def pool() -> AsyncIterator[PoolStandIn]:
    async with PoolStandIn.installed() as stand_in:
        yield stand_in

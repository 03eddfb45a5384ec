"""What becomes of a room that a caller has left empty."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from livekit.protocol import models
from livekit.protocol import room as protocol

from voicefleet.job import rooms


class LiveKit:
    """The parts of LiveKit's API, and of a JobContext, that are used; `away` is how it fails."""

    def __init__(self, *others: str, departure_timeout: int = 20, is_fake: bool = False) -> None:
        self.local_participant_identity = "agent"
        self.job = SimpleNamespace(
            room=models.Room(name="lobby", departure_timeout=departure_timeout)
        )
        self.api = SimpleNamespace(room=self)
        self.is_fake_job = lambda: is_fake
        self.there = ["agent", *others]
        self.away: Exception | None = None
        self.hangs = False
        self.asked: list[str] = []
        self.deleted: list[str] = []

    async def list_participants(self, request: protocol.ListParticipantsRequest) -> Any:
        self.asked.append(request.room)
        if self.hangs:
            await asyncio.Event().wait()
        if self.away is not None:
            raise self.away
        there = [models.ParticipantInfo(identity=name) for name in self.there]
        return protocol.ListParticipantsResponse(participants=there)

    async def delete_room(self, request: protocol.DeleteRoomRequest) -> None:
        self.deleted.append(request.room)


async def delete_if_empty(livekit: LiveKit) -> list[str]:
    async with asyncio.timeout(5):
        await rooms.delete_if_empty(livekit)  # type: ignore[arg-type]
    return livekit.deleted


async def test_a_room_in_which_the_agent_is_alone_is_deleted() -> None:
    """A caller who came back to it met nobody: LiveKit sends an agent into a new room alone."""
    assert await delete_if_empty(LiveKit()) == ["lobby"]


async def test_a_room_with_anybody_else_in_it_is_left_to_them() -> None:
    assert await delete_if_empty(LiveKit("anna")) == []


async def test_a_room_that_is_to_stay_when_it_is_empty_stays() -> None:
    livekit = LiveKit(departure_timeout=3600)
    assert await delete_if_empty(livekit) == []
    assert livekit.asked == []


async def test_the_console_has_no_room_to_delete() -> None:
    livekit = LiveKit(is_fake=True)
    assert await delete_if_empty(livekit) == []
    assert livekit.asked == []


async def test_a_livekit_that_fails_or_hangs_fails_no_end_of_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rooms, "DELETED_WITHIN_SECONDS", 0.05)
    failing, hanging = LiveKit(), LiveKit()
    failing.away, hanging.hangs = OSError("gone"), True
    assert await delete_if_empty(failing) == []
    assert await delete_if_empty(hanging) == []

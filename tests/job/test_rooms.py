"""What becomes of a room that a caller has left."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import api
from livekit.agents.types import ATTRIBUTE_PUBLISH_ON_BEHALF
from livekit.protocol import agent, agent_dispatch, models
from livekit.protocol import room as protocol

from voicefleet.job import rooms


class LiveKit:
    """The parts of LiveKit's API, and of a JobContext, that are used; `away` is how it fails.

    `dispatches` are (id, agent's name), oldest first; this job's own is "AD_own" of "greeter".
    """

    def __init__(self, *others: str, departure_timeout: int = 20, is_fake: bool = False) -> None:
        self.local_participant_identity = "agent"
        self.job = agent.Job(
            room=models.Room(name="lobby", departure_timeout=departure_timeout),
            type=agent.JobType.JT_ROOM,
            dispatch_id="AD_own",
            agent_name="greeter",
            metadata="vip",
            attributes={"tier": "gold"},
        )
        self.api = SimpleNamespace(room=self, agent_dispatch=self)
        self.is_fake_job = lambda: is_fake
        self.room = SimpleNamespace(remote_participants={})
        self.there = ["agent", *others]
        self.dispatches = [("AD_own", "greeter")]
        self.away: Exception | None = None
        self.hangs = False
        self.asked: list[str] = []
        self.deleted: list[str] = []
        self.dispatched: list[agent_dispatch.CreateAgentDispatchRequest] = []

    async def list_participants(self, request: protocol.ListParticipantsRequest) -> Any:
        self.asked.append(request.room)
        if self.hangs:
            await asyncio.Event().wait()
        if self.away is not None:
            raise self.away
        kinds = {"recorder": models.ParticipantInfo.EGRESS, "agent": models.ParticipantInfo.AGENT}
        on_behalf = {"avatar": {ATTRIBUTE_PUBLISH_ON_BEHALF: "agent"}}
        there = [
            models.ParticipantInfo(identity=w, kind=kinds.get(w), attributes=on_behalf.get(w))
            for w in self.there
        ]
        return protocol.ListParticipantsResponse(participants=there)

    async def delete_room(self, request: protocol.DeleteRoomRequest) -> None:
        self.deleted.append(request.room)

    async def list_dispatch(self, room: str) -> list[agent_dispatch.AgentDispatch]:
        assert room == "lobby"
        return [
            agent_dispatch.AgentDispatch(
                id=one,
                agent_name=name,
                state=agent_dispatch.AgentDispatchState(created_at=1_000 + number),
            )
            for number, (one, name) in enumerate(self.dispatches)
        ]

    async def create_dispatch(self, request: agent_dispatch.CreateAgentDispatchRequest) -> None:
        self.dispatched.append(request)
        self.dispatches.append(("AD_again", request.agent_name))


async def left(livekit: LiveKit) -> LiveKit:
    async with asyncio.timeout(5):
        await rooms.leave(livekit)  # type: ignore[arg-type]
    return livekit


@pytest.mark.parametrize("others", [(), ("avatar",)])
async def test_a_room_in_which_the_agent_is_alone_is_deleted(others: tuple[str, ...]) -> None:
    """A caller who came back to it met nobody: LiveKit sends an agent into a new room alone."""
    livekit = await left(LiveKit(*others))
    assert livekit.deleted == ["lobby"]
    assert livekit.dispatched == []


async def test_a_room_with_a_recorder_in_it_is_left_as_it_is() -> None:
    livekit = await left(LiveKit("recorder"))
    assert livekit.deleted == livekit.dispatched == []


@pytest.mark.parametrize("departure_timeout", [20, 3600])
async def test_a_caller_who_is_back_before_the_agent_has_gone_is_dispatched_for_once(
    departure_timeout: int,
) -> None:
    livekit = await left(LiveKit("anna", departure_timeout=departure_timeout))
    assert livekit.deleted == []
    [asked] = livekit.dispatched
    assert (asked.room, asked.agent_name, asked.metadata) == ("lobby", "greeter", "vip")
    assert dict(asked.attributes) == {"tier": "gold"}
    await rooms.dispatch_again(livekit)  # type: ignore[arg-type]
    assert livekit.dispatched == [asked]


async def test_who_asks_by_themselves_get_one_agent() -> None:
    """A backend that dispatches when its caller is back; and one job for each participant, which
    LiveKit starts by itself. Another agent's dispatch, or an older one, is none of this.
    """
    asked = LiveKit("anna")
    asked.dispatches.append(("AD_backend", "greeter"))
    assert (await left(asked)).dispatched == []
    for_each = LiveKit("anna")
    for_each.job.type = agent.JobType.JT_PARTICIPANT
    assert (await left(for_each)).dispatched == []
    beside = LiveKit("anna")
    beside.dispatches = [("AD_old", "greeter"), ("AD_own", "greeter"), ("AD_scribe", "scribe")]
    assert len((await left(beside)).dispatched) == 1


async def test_who_is_in_a_room_is_known_from_it_or_asked_of_livekit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What cannot be known ends no call."""

    async def is_entered(livekit: LiveKit) -> bool:
        return await rooms.is_entered(livekit)  # type: ignore[arg-type]

    assert not await is_entered(LiveKit("recorder", "avatar"))
    assert await is_entered(LiveKit("anna"))
    assert await is_entered(LiveKit(is_fake=True))
    known = LiveKit()
    known.room.remote_participants["anna"] = models.ParticipantInfo()
    assert await is_entered(known)
    assert known.asked == []
    failing = LiveKit()
    failing.away = OSError("gone")
    assert await is_entered(failing)


async def test_a_room_that_is_to_stay_when_it_is_empty_stays() -> None:
    assert (await left(LiveKit(departure_timeout=3600))).deleted == []


async def test_the_console_has_no_room_to_delete() -> None:
    livekit = await left(LiveKit(is_fake=True))
    assert livekit.deleted == livekit.asked == []


async def test_a_room_that_is_gone_already_is_nothing_to_tell_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    livekit = LiveKit()
    livekit.away = api.TwirpError(api.TwirpErrorCode.NOT_FOUND, "no such room", status=404)
    assert (await left(livekit)).deleted == []
    assert caplog.records == []


async def test_a_livekit_that_fails_or_hangs_fails_no_end_of_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rooms, "ANSWERED_WITHIN_SECONDS", 0.05)
    failing, hanging = LiveKit(), LiveKit()
    failing.away, hanging.hangs = OSError("gone"), True
    assert (await left(failing)).deleted == []
    assert (await left(hanging)).deleted == []

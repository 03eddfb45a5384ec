"""What becomes of a room that a caller has left."""

import asyncio
import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import api
from livekit.agents.types import ATTRIBUTE_PUBLISH_ON_BEHALF
from livekit.protocol import agent, models
from livekit.protocol import agent_dispatch as protocol_dispatch
from livekit.protocol import room as protocol

from voicefleet.job import rooms


class LiveKit:
    """The parts of LiveKit's API, and of a JobContext, that are used; `away` is how it fails.

    Of the agents called "greeter", this job's own was sent by the dispatch "AD_own".
    """

    def __init__(self, *others: str, departure_timeout: int = 20, is_fake: bool = False) -> None:
        self.local_participant_identity = "agent"
        self.job = agent.Job(
            room=models.Room(name="lobby", departure_timeout=departure_timeout),
            type=agent.JobType.JT_ROOM,
            dispatch_id="AD_own",
            agent_name="greeter",
        )
        self.api = SimpleNamespace(room=self, agent_dispatch=self)
        self.is_fake_job = lambda: is_fake
        self.is_connected = True
        self.room = SimpleNamespace(remote_participants={}, isconnected=lambda: self.is_connected)
        self.there = ["agent", *others]
        self.dispatches = {"AD_own": dispatch("AD_own", ["agent"], metadata="vip")}
        self.away: Exception | None = None
        self.hangs = False
        self.asked: list[str] = []
        self.deleted: list[str] = []
        self.dispatched: list[protocol_dispatch.CreateAgentDispatchRequest] = []

    async def list_participants(self, request: protocol.ListParticipantsRequest) -> Any:
        self.asked.append(request.room)
        if self.hangs:
            await asyncio.Event().wait()
        if self.away is not None:
            raise self.away
        return protocol.ListParticipantsResponse(participants=map(participant, self.there))

    async def delete_room(self, request: protocol.DeleteRoomRequest) -> None:
        self.deleted.append(request.room)

    async def list_dispatch(self, room: str) -> list[api.AgentDispatch]:
        assert room == "lobby"
        return list(self.dispatches.values())

    async def create_dispatch(self, request: protocol_dispatch.CreateAgentDispatchRequest) -> None:
        self.dispatched.append(request)
        self.dispatches["AD_again"] = dispatch("AD_again", [])


def participant(identity: str) -> models.ParticipantInfo:
    match identity:
        case "agent" | "scribe":
            return models.ParticipantInfo(identity=identity, kind=models.ParticipantInfo.AGENT)
        case "recorder":
            return models.ParticipantInfo(identity=identity, kind=models.ParticipantInfo.EGRESS)
        case "avatar":
            on_behalf = {ATTRIBUTE_PUBLISH_ON_BEHALF: "agent"}
            return models.ParticipantInfo(identity=identity, attributes=on_behalf)
        case "supervisor":
            unseen = models.ParticipantPermission(hidden=True)
            return models.ParticipantInfo(identity=identity, permission=unseen)
    return models.ParticipantInfo(identity=identity)


def dispatch(
    identity: str, agents: list[str], *, age_seconds: float = 0.0, **fields: Any
) -> api.AgentDispatch:
    """One of "greeter", which these agents have answered."""
    jobs = [agent.Job(state=agent.JobState(participant_identity=name)) for name in agents]
    state = protocol_dispatch.AgentDispatchState(
        created_at=int((time.time() - age_seconds) * 1e9), jobs=jobs
    )
    made: dict[str, Any] = {"id": identity, "agent_name": "greeter", "state": state}
    return api.AgentDispatch(**(made | fields))


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "BACKEND_WITHIN_SECONDS", 0.05)
    monkeypatch.setattr(rooms, "STAYS_EMPTY_SECONDS", 0.05)


async def freed(livekit: LiveKit, has_news: asyncio.Event | None = None) -> LiveKit:
    async with asyncio.timeout(5):
        await rooms.free(livekit, has_news or asyncio.Event())  # type: ignore[arg-type]
    return livekit


@pytest.mark.parametrize("other", [(), ("avatar",), ("recorder",), ("supervisor",)])
async def test_a_room_in_which_the_agent_is_alone_is_deleted(other: tuple[str, ...]) -> None:
    """A caller who came back to it met nobody: LiveKit sends an agent into a new room alone."""
    livekit = await freed(LiveKit(*other))
    assert livekit.deleted == ["lobby"]
    assert livekit.dispatched == []


async def test_one_who_connects_again_at_once_is_found_before_the_room_is_deleted() -> None:
    """LiveKit put one who joined while it deleted the room into no room that anybody can reach."""
    livekit = LiveKit()
    freeing = asyncio.create_task(freed(livekit))
    await asyncio.sleep(0.01)
    livekit.there.append("anna")
    await freeing
    assert livekit.deleted == []
    assert len(livekit.dispatched) == 1


async def test_one_who_is_back_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "STAYS_EMPTY_SECONDS", 60)
    livekit, has_news = LiveKit("anna"), asyncio.Event()
    freeing = asyncio.create_task(freed(livekit, has_news))
    await asyncio.sleep(0.01)
    assert not freeing.done()
    has_news.set()
    await freeing
    assert len(livekit.dispatched) == 1


async def test_a_room_with_another_agent_in_it_is_left_as_it_is() -> None:
    livekit = await freed(LiveKit("scribe"))
    assert livekit.deleted == livekit.dispatched == []


@pytest.mark.parametrize("departure_timeout", [20, 3600])
async def test_a_caller_who_is_back_before_the_agent_has_gone_is_dispatched_for_once(
    departure_timeout: int,
) -> None:
    livekit = await freed(LiveKit("anna", departure_timeout=departure_timeout))
    assert livekit.deleted == []
    [asked] = livekit.dispatched
    assert (asked.room, asked.agent_name, asked.metadata) == ("lobby", "greeter", "vip")
    await rooms.dispatch_again(livekit)  # type: ignore[arg-type]
    assert livekit.dispatched == [asked]


@pytest.mark.parametrize(
    ("agents", "fields", "is_dispatched"),
    [
        # The backend's, for the same caller: on its way, and there.
        ([], {}, False),
        (["scribe"], {"age_seconds": 60}, False),
        # It has a job, and its agent is not in the room yet.
        (["agent-coming"], {}, False),
        # That of the caller's last visit, whose agent has gone; one that nobody took; another's.
        (["agent-gone"], {"age_seconds": 20}, True),
        (["agent-gone"], {"age_seconds": 5}, True),
        ([], {"age_seconds": 60}, True),
        (["scribe"], {"agent_name": "scribe"}, True),
    ],
)
async def test_who_is_answered_already_gets_no_second_agent(
    agents: list[str], fields: dict[str, Any], is_dispatched: bool
) -> None:
    livekit = LiveKit("anna", "scribe")
    livekit.dispatches["AD_other"] = dispatch("AD_other", agents, **fields)
    assert len((await freed(livekit)).dispatched) == is_dispatched


@pytest.mark.parametrize("meanwhile", ["the backend dispatches", "the caller leaves again"])
async def test_a_backend_has_time_to_dispatch_for_its_caller(meanwhile: str) -> None:
    livekit = LiveKit("anna")
    freeing = asyncio.create_task(freed(livekit))
    await asyncio.sleep(0.01)
    if meanwhile == "the backend dispatches":
        livekit.dispatches["AD_backend"] = dispatch("AD_backend", [])
    else:
        livekit.there.remove("anna")
    await freeing
    assert livekit.dispatched == []


async def test_livekit_itself_dispatches_where_each_participant_has_a_job() -> None:
    livekit = LiveKit("anna")
    livekit.job.type = agent.JobType.JT_PARTICIPANT
    assert (await freed(livekit)).dispatched == []


@pytest.mark.parametrize("is_connected", [True, False])
async def test_a_room_into_which_somebody_comes_meanwhile_or_another_of_its_name_stays(
    is_connected: bool,
) -> None:
    livekit = LiveKit()
    livekit.is_connected = is_connected
    if is_connected:
        livekit.room.remote_participants["anna"] = models.ParticipantInfo()
    assert (await freed(livekit)).deleted == []


async def test_who_is_in_a_room_is_known_from_it_or_asked_of_livekit() -> None:
    """What cannot be known ends no call."""

    async def has_caller(livekit: LiveKit) -> bool | None:
        return await rooms.has_caller(livekit)  # type: ignore[arg-type]

    assert await has_caller(LiveKit("recorder", "avatar", "supervisor")) is False
    assert await has_caller(LiveKit("anna"))
    assert await has_caller(LiveKit(is_fake=True)) is None
    known = LiveKit()
    known.room.remote_participants["anna"] = models.ParticipantInfo()
    assert await has_caller(known)
    assert known.asked == []
    failing = LiveKit()
    failing.away = OSError("gone")
    assert await has_caller(failing) is None


async def test_a_room_that_is_to_stay_when_it_is_empty_stays() -> None:
    assert (await freed(LiveKit(departure_timeout=3600))).deleted == []


async def test_the_console_has_no_room_to_delete() -> None:
    livekit = await freed(LiveKit(is_fake=True))
    assert livekit.deleted == livekit.asked == []


async def test_a_room_that_is_gone_already_is_nothing_to_tell_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    livekit = LiveKit()
    livekit.away = api.TwirpError(api.TwirpErrorCode.NOT_FOUND, "no such room", status=404)
    assert (await freed(livekit)).deleted == []
    assert caplog.records == []


async def test_a_livekit_that_fails_or_hangs_fails_no_end_of_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rooms, "ANSWERED_WITHIN_SECONDS", 0.05)
    failing, hanging = LiveKit(), LiveKit()
    failing.away, hanging.hangs = OSError("gone"), True
    assert (await freed(failing)).deleted == []
    assert (await freed(hanging)).deleted == []

"""The scribe of one participant: sessions that fail are replaced, and the room is told."""

import asyncio
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.agents import AgentSession, CloseReason, UserInputTranscribedEvent
from livekit.agents.types import ATTRIBUTE_TRANSCRIPTION_FINAL, TOPIC_TRANSCRIPTION

from tests.waiting import wait_until
from worker.agents.transcriber import scribe
from worker.agents.transcriber.scribe import DEAF, HEARS_AGAIN, Scribe


class Somebody:
    """The side of a participant that a scribe uses; of our own, `told` is what it told the room."""

    kind = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
    disconnect_reason = None
    sid, identity, name = "PA_1", "anna", "Anna"

    def __init__(self) -> None:
        self.attributes: dict[str, str] = {}
        self.track_publications: dict[str, Any] = {}
        self.told: list[str] = []

    async def set_attributes(self, attributes: dict[str, str]) -> None:
        self.attributes |= attributes

    async def send_text(self, text: str, *, topic: str, attributes: dict[str, str]) -> None:
        assert topic == TOPIC_TRANSCRIPTION
        assert attributes == {ATTRIBUTE_TRANSCRIPTION_FINAL: "true"}
        self.told.append(text)


class Room(rtc.EventEmitter[str]):
    """A room as far as LiveKit's session looks at it before anybody speaks."""

    name = "meeting"

    def __init__(self, anna: Somebody) -> None:
        super().__init__()
        self.local_participant = Somebody()
        self.remote_participants = {anna.identity: anna}
        self.is_open = True

    def isconnected(self) -> bool:
        return self.is_open


class Call:
    """A scribe at work; `sessions` are those it has made so far."""

    def __init__(self) -> None:
        anna = Somebody()
        self.room = Room(anna)
        self.sessions: list[AgentSession[None]] = []
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        one = Scribe(
            cast(rtc.Room, self.room), cast(rtc.RemoteParticipant, anna), build=self._build
        )
        self.writing = asyncio.create_task(one.write_until(self.left), name="scribe")

    def _build(self) -> AgentSession[None]:
        self.sessions.append(AgentSession(vad=None, turn_handling={"turn_detection": None}))
        return self.sessions[-1]

    async def has_sessions(self, count: int) -> None:
        await wait_until(
            lambda: len(self.sessions) == count and self.sessions[-1].agent_state == "listening",
            because=f"session {count} listens",
        )

    def fail(self) -> None:
        """As LiveKit does once it has given the provider up."""
        self.sessions[-1]._close_soon(reason=CloseReason.ERROR)

    def hear(self) -> None:
        event = UserInputTranscribedEvent(transcript="Hello", is_final=False, language=None)
        self.sessions[-1].emit("user_input_transcribed", event)

    async def leave(self) -> None:
        self.left.set_result(None)
        await asyncio.wait_for(self.writing, timeout=5)

    @property
    def told(self) -> list[str]:
        """What the room was told by the scribe itself."""
        return self.room.local_participant.told


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribe, "SHORTEST_PAUSE_SECONDS", 0.01)


async def test_nothing_is_told_where_nothing_fails() -> None:
    call = Call()
    await call.has_sessions(1)
    call.hear()
    await call.leave()
    assert (call.told, len(call.sessions)) == ([], 1)


async def test_a_session_that_fails_is_replaced_and_the_gap_is_told_once() -> None:
    call = Call()
    for count in (1, 2, 3):
        await call.has_sessions(count)
        call.fail()
    await call.has_sessions(4)
    assert call.told == [DEAF.format(who="Anna")]
    call.hear()
    await wait_until(lambda: len(call.told) == 2, because="the room is told of the end of the gap")
    assert call.told[1] == HEARS_AGAIN.format(who="Anna")
    call.fail()
    await call.has_sessions(5)
    assert call.told[2:] == [DEAF.format(who="Anna")]
    await call.leave()


async def test_who_leaves_in_a_pause_is_not_listened_to_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scribe, "SHORTEST_PAUSE_SECONDS", 60.0)
    call = Call()
    await call.has_sessions(1)
    call.fail()
    await wait_until(lambda: bool(call.told), because="the gap is told")
    await call.leave()
    assert len(call.sessions) == 1


async def test_a_job_that_ends_is_no_failure() -> None:
    call = Call()
    await call.has_sessions(1)
    call.sessions[0]._close_soon(reason=CloseReason.JOB_SHUTDOWN)
    await asyncio.wait_for(call.writing, timeout=5)
    assert (call.told, len(call.sessions)) == ([], 1)

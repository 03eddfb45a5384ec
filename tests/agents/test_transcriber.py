"""The scribe of one participant: sessions that fail are replaced, the room is told, and what was
heard last is written before the scribe leaves.
"""

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.agents import AgentSession, CloseReason, UserInputTranscribedEvent
from livekit.agents.types import (
    ATTRIBUTE_TRANSCRIPTION_FINAL,
    ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID,
    ATTRIBUTE_TRANSCRIPTION_TRACK_ID,
    TOPIC_TRANSCRIPTION,
)

from tests.waiting import wait_until
from voicefleet.agents.transcriber import scribe
from voicefleet.agents.transcriber.scribe import DEAF, HEARS_AGAIN, Scribe


@dataclass(slots=True)
class Line:
    """A stream of text to the room; it is `written` when it has been closed."""

    agent: "Somebody"
    by: str
    attributes: dict[str, str]
    text: str = ""

    async def write(self, text: str) -> None:
        await self.agent.is_heard.wait()
        if text in self.agent.refused:
            raise rtc.StreamError("the room is not there")
        self.text += text

    async def aclose(self) -> None:
        self.agent.written.append(self)


class Somebody:
    """The side of a participant that a scribe uses; of our own, `told` is what it told the room and
    `written` what it wrote in another's name.
    """

    kind = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
    disconnect_reason = None
    sid, identity, name = "PA_1", "anna", "Anna"

    def __init__(self) -> None:
        self.attributes: dict[str, str] = {}
        self.track_publications: dict[str, Any] = {}
        self.told: list[str] = []
        self.written: list[Line] = []
        self.refused: list[str] = []
        self.is_heard = asyncio.Event()
        self.is_heard.set()

    async def set_attributes(self, attributes: dict[str, str]) -> None:
        self.attributes |= attributes

    async def send_text(self, text: str, *, topic: str, attributes: dict[str, str]) -> None:
        assert topic == TOPIC_TRANSCRIPTION
        assert attributes == {ATTRIBUTE_TRANSCRIPTION_FINAL: "true"}
        self.told.append(text)

    async def stream_text(
        self, *, topic: str, attributes: dict[str, str], sender_identity: str
    ) -> Line:
        assert topic == TOPIC_TRANSCRIPTION
        return Line(self, sender_identity, attributes)


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
        self.anna = anna
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

    def hear(self, text: str = "Hello", *, is_final: bool = False) -> None:
        event = UserInputTranscribedEvent(transcript=text, is_final=is_final, language=None)
        self.sessions[-1].emit("user_input_transcribed", event)

    async def leave(self) -> None:
        self.anna.track_publications.clear()
        self.left.set_result(None)
        await asyncio.wait_for(self.writing, timeout=5)

    @property
    def told(self) -> list[str]:
        """What the room was told by the scribe itself."""
        return self.room.local_participant.told

    @property
    def written(self) -> list[Line]:
        return self.room.local_participant.written


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


async def test_who_leaves_while_the_room_is_slow_is_written_down_whole() -> None:
    """LiveKit's session threw away what it had not sent, in three of twelve real calls."""
    call = Call()
    await call.has_sessions(1)
    is_heard = call.room.local_participant.is_heard
    is_heard.clear()
    for text in ("We", "We meet", "We meet here."):
        call.hear(text, is_final=text.endswith("."))
    leaving = asyncio.create_task(call.leave())
    await wait_until(lambda: call.sessions[0].agent_state == "initializing", because="it closes")
    assert not leaving.done()
    is_heard.set()
    await leaving
    assert [line.text for line in call.written] == ["We", "We meet", "We meet here."]
    finals = [line.attributes[ATTRIBUTE_TRANSCRIPTION_FINAL] for line in call.written]
    assert finals == ["false", "false", "true"]


async def test_a_sentence_is_one_segment_in_the_name_and_of_the_microphone_of_who_said_it() -> None:
    call = Call()
    call.anna.track_publications = {
        "TR_1": SimpleNamespace(sid="TR_1", source=rtc.TrackSource.SOURCE_CAMERA),
        "TR_2": SimpleNamespace(sid="TR_2", source=rtc.TrackSource.SOURCE_MICROPHONE),
    }
    await call.has_sessions(1)
    call.hear("One", is_final=False)
    call.hear("One.", is_final=True)
    await wait_until(lambda: len(call.written) == 2, because="the first sentence is written")
    call.hear("Two.", is_final=True)
    await call.leave()
    assert {line.by for line in call.written} == {"anna"}
    assert {line.attributes[ATTRIBUTE_TRANSCRIPTION_TRACK_ID] for line in call.written} == {"TR_2"}
    guess, first, second = (
        line.attributes[ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID] for line in call.written
    )
    assert guess == first != second


async def test_a_line_that_the_room_does_not_take_is_not_the_last() -> None:
    call = Call()
    await call.has_sessions(1)
    call.room.local_participant.refused.append("Lost.")
    call.hear("Lost.", is_final=True)
    call.hear("Kept.", is_final=True)
    await call.leave()
    assert [line.text for line in call.written] == ["Kept."]

"""What the agent that sees shows its LLM: the picture of the moment, and no old ones."""

import asyncio
import base64
import io
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import llm
from livekit.agents.types import ATTRIBUTE_PUBLISH_ON_BEHALF
from PIL import Image

from tests.agents import text_call
from tests.waiting import wait_until
from voicefleet.agents.vision.agent import GREETING, PROMPT, Onlooker
from voicefleet.agents.vision.eyes import LONGEST_SIDE_PIXELS, Eyes
from voicefleet.lab import pictures


class Room(rtc.EventEmitter[str]):
    """What Eyes knows of a room; who is there has `tracks`, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.remote_participants: dict[str, Any] = {}
        self.streams: dict[str, asyncio.Queue[Any]] = {}

    def shows(
        self,
        sid: str,
        kind: int = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD,
        on_behalf: str | None = None,
    ) -> SimpleNamespace:
        track = rtc.RemoteVideoTrack.__new__(rtc.RemoteVideoTrack)
        track._info = SimpleNamespace(sid=sid)  # type: ignore[assignment]
        self.streams[sid] = asyncio.Queue()
        publication = SimpleNamespace(muted=False, track=track)
        attributes = {} if on_behalf is None else {ATTRIBUTE_PUBLISH_ON_BEHALF: on_behalf}
        participant = SimpleNamespace(
            kind=kind, attributes=attributes, track_publications={sid: publication}
        )
        self.remote_participants[sid] = participant
        self.emit("track_subscribed", track, publication, participant)
        return publication

    def frame(self, sid: str, what: str, width: int = 160, height: int = 120) -> None:
        drawn = pictures.draw(what, width, height).tobytes()
        frame = rtc.VideoFrame(width, height, rtc.VideoBufferType.RGBA, drawn)
        self.streams[sid].put_nowait(SimpleNamespace(frame=frame))


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    made = Room()

    class Stream:
        def __init__(self, track: Any, capacity: int) -> None:
            assert capacity == 1
            self._frames = made.streams[track.sid]

        def __aiter__(self) -> "Stream":
            return self

        async def __anext__(self) -> Any:
            return await self._frames.get()

        async def aclose(self) -> None:
            """Nothing is held."""

    monkeypatch.setattr(rtc, "VideoStream", Stream)
    return made


async def sees(eyes: Eyes, what: str) -> None:
    async def is_seen() -> bool:
        picture = await eyes.look()
        seen = "" if picture is None else pictures.seen_in(str(picture.image))
        return seen == what

    await wait_until(is_seen, because=f"it sees {what!r}")


def pictures_of(chat: llm.ChatContext) -> list[str]:
    return [
        pictures.seen_in(str(part.image))
        for message in chat.messages()
        for part in message.content
        if isinstance(part, llm.ImageContent)
    ]


async def test_the_newest_picture_goes_with_what_the_caller_says_last_and_no_old_one(
    room: Room,
) -> None:
    eyes = Eyes(room)  # type: ignore[arg-type]
    room.shows("camera")
    async with text_call.answered_by(Onlooker(eyes), "A circle.", "A square.") as call:
        assert call.spoken == [GREETING]
        room.frame("camera", "red circle")
        await sees(eyes, "red circle")
        await call.say("What is it?")
        room.frame("camera", "blue square")
        await sees(eyes, "blue square")
        await call.say("And this?")
        first, second = call.model.requests
        assert first.messages()[0].text_content == PROMPT
        assert pictures_of(first) == ["red circle"]
        assert pictures_of(second) == ["blue square"]
        shown, said = second.messages()[-2:]
        assert isinstance(shown.content[0], llm.ImageContent)
        assert said.text_content == "And this?"
        assert pictures_of(call.session.history) == []
    eyes.close()


async def test_a_camera_that_is_off_shows_nothing_and_the_llm_is_asked_all_the_same(
    room: Room,
) -> None:
    eyes = Eyes(room)  # type: ignore[arg-type]
    async with text_call.answered_by(Onlooker(eyes), "Your camera is off.", "Off again.") as call:
        await call.say("What is it?")
        camera = room.shows("camera")
        room.frame("camera", "red circle")
        await sees(eyes, "red circle")
        camera.muted = True
        await call.say("And now?")
        assert [pictures_of(request) for request in call.model.requests] == [[], []]
    eyes.close()


async def test_a_screen_that_is_shared_counts_before_the_camera_and_an_avatar_never(
    room: Room,
) -> None:
    camera = room.shows("camera")
    eyes = Eyes(room)  # type: ignore[arg-type]
    room.frame("camera", "red circle")
    await sees(eyes, "red circle")
    room.shows("colleague", kind=rtc.ParticipantKind.PARTICIPANT_KIND_AGENT)
    room.frame("colleague", "yellow circle")
    room.shows("avatar", on_behalf="agent")
    room.frame("avatar", "yellow square")
    await asyncio.sleep(0.05)
    await sees(eyes, "red circle")
    screen = room.shows("screen")
    room.frame("screen", "green triangle")
    await sees(eyes, "green triangle")
    room.emit("track_unsubscribed", screen.track, screen, None)
    await sees(eyes, "red circle")
    room.emit("track_unsubscribed", camera.track, camera, None)
    await sees(eyes, "")
    eyes.close()


async def test_a_large_picture_is_made_smaller_and_keeps_its_form(room: Room) -> None:
    eyes = Eyes(room)  # type: ignore[arg-type]
    room.shows("camera")
    room.frame("camera", "red circle", 1280, 720)
    await sees(eyes, "red circle")
    picture = await eyes.look()
    assert picture is not None
    data = base64.b64decode(str(picture.image).partition(",")[2])
    assert Image.open(io.BytesIO(data)).size == (LONGEST_SIDE_PIXELS, 432)
    eyes.close()
    assert await eyes.look() is None

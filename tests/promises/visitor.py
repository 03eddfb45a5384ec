"""Somebody who joins a room and reads what the agents there say: a caller without a voice."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from livekit import api, rtc
from livekit.agents.types import ATTRIBUTE_TRANSCRIPTION_FINAL, TOPIC_TRANSCRIPTION

from tests.waiting import wait_until
from voicefleet.lab import line
from voicefleet.lab.stack import Stack

_numbers = itertools.count(1)


def new_room() -> str:
    return f"room-{os.getpid()}-{next(_numbers)}"


async def dispatch(up: Stack, room: str, metadata: str = "") -> None:
    """Ask for the stack's agent in this room."""
    async with api.LiveKitAPI(up.url, up.api_key, up.api_secret) as livekit:
        request = api.CreateAgentDispatchRequest(
            agent_name=up.agent_name, room=room, metadata=metadata
        )
        await livekit.agent_dispatch.create_dispatch(request)


@dataclass(slots=True)
class Visitor:
    """`written` is every final line that the room was shown. An agent is `there` as soon as LiveKit
    tells of it, which is up to 3 s late for one that publishes nothing.
    """

    room: rtc.Room = field(default_factory=rtc.Room)
    written: list[str] = field(default_factory=list)
    _reading: set[asyncio.Task[None]] = field(default_factory=set)

    async def is_greeted(self, words: str = "city library", within_seconds: float = 20.0) -> None:
        await wait_until(
            lambda: any(words in said for said in self.written),
            because=f"an agent says {words!r}",
            timeout_seconds=within_seconds,
        )

    async def is_greeted_again(self, by_another_than: str) -> bool:
        """After an absence of a moment: whether a new call has begun. LiveKit may have told the
        agent, of this identity, neither of the going nor of the coming; then the same call goes on.
        """
        try:
            await self.is_greeted()
        except AssertionError:
            if [agent.identity for agent in self.agents()] != [by_another_than]:
                raise
            return False
        return True

    async def turns_on_a_microphone(self) -> None:
        """It stays silent. LiveKit tells of those who have none up to 3 s late."""
        track = rtc.LocalAudioTrack.create_audio_track("voice", rtc.AudioSource(16_000, 1))
        spoken = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.room.local_participant.publish_track(track, spoken)

    def tracks_of(self, identity: str) -> list[rtc.RemoteTrackPublication]:
        """The tracks that are known of; none of somebody who is not there."""
        somebody = self.room.remote_participants.get(identity)
        return list(somebody.track_publications.values()) if somebody else []

    def agents(self) -> list[rtc.RemoteParticipant]:
        there = self.room.remote_participants.values()
        return [one for one in there if one.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT]

    async def meets_an_agent(self, within_seconds: float = 15.0) -> rtc.RemoteParticipant:
        await wait_until(
            lambda: bool(self.agents()),
            because="an agent joins the room",
            timeout_seconds=within_seconds,
        )
        return self.agents()[0]

    def read(self, reader: rtc.TextStreamReader, _: str) -> None:
        task = asyncio.create_task(self._read(reader), name="visitor-reading")
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read(self, reader: rtc.TextStreamReader) -> None:
        text = await reader.read_all()
        if (reader.info.attributes or {}).get(ATTRIBUTE_TRANSCRIPTION_FINAL) == "true":
            self.written.append(text)


@asynccontextmanager
async def visiting(
    up: Stack, room: str, identity: str = "visitor", asks_for: str | None = None
) -> AsyncIterator[Visitor]:
    """In the room for as long as the block lasts. `asks_for`: the agent that the visitor's own
    token has LiveKit dispatch when it makes the room.
    """
    token = api.AccessToken(up.api_key, up.api_secret).with_identity(identity)
    token = token.with_grants(api.VideoGrants(room_join=True, room=room))
    if asks_for is not None:
        asked = api.RoomAgentDispatch(agent_name=asks_for)
        token = token.with_room_config(api.RoomConfiguration(agents=[asked]))
    visitor = Visitor()
    visitor.room.register_text_stream_handler(TOPIC_TRANSCRIPTION, visitor.read)
    await line.after(visitor.room.connect(up.url, token.to_jwt()))
    try:
        yield visitor
    finally:
        await line.leave(visitor.room)

"""Who listens to one participant, from joining to leaving, whatever becomes of a session; what is
heard goes into the transcript.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession, CloseEvent, CloseReason, UserInputTranscribedEvent
from livekit.agents.types import ATTRIBUTE_TRANSCRIPTION_FINAL, TOPIC_TRANSCRIPTION
from livekit.agents.voice.room_io import AudioInputOptions, RoomOptions

from . import transcript
from .transcript import Add

# What the room reads where words are lost; the scribe has no other voice.
DEAF = "I cannot hear {who} at the moment: what they say now is not written down."
HEARS_AGAIN = "I can hear {who} again."

# LiveKit gives a session up when its provider's retries, and the next ones of a chain, have failed
# several times. A room goes on without its record, so a new session is tried as long as it does.
SHORTEST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0

Build = Callable[[], AgentSession[None]]


class Scribe:
    """Listens to one participant, with one session after the other where they fail."""

    def __init__(self, room: rtc.Room, participant: rtc.RemoteParticipant, build: Build) -> None:
        self._room, self._participant, self._build = room, participant, build
        self._pause_seconds = SHORTEST_PAUSE_SECONDS
        self._is_deaf = False

    async def write_until(self, left: asyncio.Future[None]) -> None:
        """Return when the participant has left and the last words are written, or the job ends."""
        async with transcript.writing(self._room, self._participant) as add:
            while not left.done() and self._room.isconnected():
                reason = await self._listen(left, add)
                if reason is not CloseReason.ERROR:
                    return
                await self._tell_deaf()
                await asyncio.wait({left}, timeout=self._pause_seconds)
                self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)

    async def _listen(self, left: asyncio.Future[None], add: Add) -> CloseReason:
        """One session, and why it closed."""
        session = self._build()
        loop = asyncio.get_running_loop()
        closed: asyncio.Future[CloseEvent]
        heard: asyncio.Future[UserInputTranscribedEvent]
        closed, heard = loop.create_future(), loop.create_future()
        session.once("close", closed.set_result)
        session.once("user_input_transcribed", heard.set_result)
        session.on("user_input_transcribed", add)
        await session.start(
            Agent(instructions=""),
            room=self._room,
            room_options=RoomOptions(
                participant_identity=self._participant.identity,
                # One handler a room can take what was said before we came, and there are several.
                audio_input=AudioInputOptions(pre_connect_audio=False),
                audio_output=False,
                text_input=False,
                text_output=False,
                # Leaving is ours to handle: the last words are still on their way.
                close_on_disconnect=False,
            ),
            session_host=False,
        )
        await _first_of(left, closed, heard)
        if heard.done():
            await self._tell_heard()
        await _first_of(left, closed)
        if not closed.done():
            # LiveKit sends the recogniser the silence that ends a sentence, and waits for it.
            await session.aclose()
        return closed.result().reason

    async def _tell_deaf(self) -> None:
        if not self._is_deaf:
            self._is_deaf = True
            await self._tell(DEAF)

    async def _tell_heard(self) -> None:
        self._pause_seconds = SHORTEST_PAUSE_SECONDS
        if self._is_deaf:
            self._is_deaf = False
            await self._tell(HEARS_AGAIN)

    async def _tell(self, text: str) -> None:
        """In the agent's own name, as if it had said it."""
        who = self._participant.name or self._participant.identity
        await self._room.local_participant.send_text(
            text.format(who=who),
            topic=TOPIC_TRANSCRIPTION,
            attributes={ATTRIBUTE_TRANSCRIPTION_FINAL: "true"},
        )


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)

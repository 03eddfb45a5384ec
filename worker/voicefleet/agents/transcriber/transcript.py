"""The transcript that a room reads of one participant: on LiveKit's topic for transcriptions, each
guess as it comes and each sentence when it is final, as with any agent.

LiveKit's session would write this too, but drops what it has not sent when it closes (1.8.9,
voice/room_io/room_io.py, `aclose`): the last sentence of whoever hangs up on their last word.
Clients that know only the older transcription packets, which LiveKit has deprecated, read nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from livekit import rtc
from livekit.agents import UserInputTranscribedEvent
from livekit.agents.types import (
    ATTRIBUTE_TRANSCRIPTION_FINAL,
    ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID,
    ATTRIBUTE_TRANSCRIPTION_TRACK_ID,
    TOPIC_TRANSCRIPTION,
)
from livekit.agents.utils import shortuuid

logger = logging.getLogger(__name__)

Add = Callable[[UserInputTranscribedEvent], None]


@asynccontextmanager
async def writing(room: rtc.Room, participant: rtc.RemoteParticipant) -> AsyncIterator[Add]:
    """Whatever is added inside the block has been written when it is left, in the same order."""
    added: asyncio.Queue[UserInputTranscribedEvent | None] = asyncio.Queue()
    task = asyncio.create_task(
        _write(added, room, participant), name=f"transcript of {participant.sid}"
    )
    try:
        yield added.put_nowait
    finally:
        added.put_nowait(None)
        await task


async def _write(
    added: "asyncio.Queue[UserInputTranscribedEvent | None]",
    room: rtc.Room,
    participant: rtc.RemoteParticipant,
) -> None:
    segment = {ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID: shortuuid("SG_")}
    track: dict[str, str] = {}
    while (line := await added.get()) is not None:
        # Who has left has no tracks, and their last line belongs to the one that they had.
        track = _microphone(participant) or track
        is_final = {ATTRIBUTE_TRANSCRIPTION_FINAL: str(line.is_final).lower()}
        try:
            writer = await room.local_participant.stream_text(
                topic=TOPIC_TRANSCRIPTION,
                attributes=segment | track | is_final,
                sender_identity=participant.identity,
            )
            await writer.write(line.transcript)
            await writer.aclose()
        except rtc.StreamError as error:
            logger.warning("a line could not be written to the room", extra={"error": str(error)})
        if line.is_final:
            segment = {ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID: shortuuid("SG_")}


def _microphone(participant: rtc.RemoteParticipant) -> dict[str, str]:
    tracks = participant.track_publications.values()
    mine = [t.sid for t in tracks if t.source == rtc.TrackSource.SOURCE_MICROPHONE]
    return {ATTRIBUTE_TRANSCRIPTION_TRACK_ID: mine[0]} if mine else {}

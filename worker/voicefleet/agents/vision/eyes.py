"""What the caller shows: the newest frame of their camera or their screen, as an LLM takes it."""

import asyncio
import base64
from dataclasses import dataclass

from livekit import rtc
from livekit.agents.job import DEFAULT_PARTICIPANT_KINDS
from livekit.agents.llm import ImageContent
from livekit.agents.types import ATTRIBUTE_PUBLISH_ON_BEHALF
from livekit.agents.utils import images

# A model scales what is larger down to this, and a larger one costs time on the way to it.
LONGEST_SIDE_PIXELS = 768
JPEG = images.EncodeOptions(
    format="JPEG",
    resize_options=images.ResizeOptions(
        LONGEST_SIDE_PIXELS, LONGEST_SIDE_PIXELS, strategy="scale_aspect_fit"
    ),
)


@dataclass(slots=True)
class _Shown:
    publication: rtc.RemoteTrackPublication
    watching: asyncio.Task[None]
    frame: rtc.VideoFrame | None = None


class Eyes:
    """Watches a room from now on, until `close`. Of several tracks the one that began last counts:
    a caller who shares a screen is speaking of it. Belongs to the job's event loop.
    """

    def __init__(self, room: rtc.Room) -> None:
        self._room = room
        self._shown: dict[str, _Shown] = {}
        room.on("track_subscribed", self._on_subscribed)
        room.on("track_unsubscribed", self._on_unsubscribed)
        for participant in room.remote_participants.values():
            for publication in participant.track_publications.values():
                if publication.track is not None:
                    self._on_subscribed(publication.track, publication, participant)

    async def look(self) -> ImageContent | None:
        """What is shown now, as a JPEG of at most `LONGEST_SIDE_PIXELS`; None if nothing is."""
        on = (s for s in reversed(self._shown.values()) if not s.publication.muted)
        frame = next((s.frame for s in on if s.frame is not None), None)
        if frame is None:
            return None
        jpeg = await asyncio.to_thread(images.encode, frame, JPEG)
        return ImageContent(image=f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}")

    def close(self) -> None:
        self._room.off("track_subscribed", self._on_subscribed)
        self._room.off("track_unsubscribed", self._on_unsubscribed)
        for shown in self._shown.values():
            shown.watching.cancel()
        self._shown.clear()

    def _on_subscribed(
        self,
        track: rtc.RemoteTrack,
        publication: rtc.RemoteTrackPublication,
        participant: rtc.RemoteParticipant,
    ) -> None:
        is_avatar = ATTRIBUTE_PUBLISH_ON_BEHALF in participant.attributes
        is_callers = participant.kind in DEFAULT_PARTICIPANT_KINDS and not is_avatar
        if is_callers and isinstance(track, rtc.RemoteVideoTrack):
            watching = asyncio.create_task(self._watch(track), name="watch a track")
            self._shown[track.sid] = _Shown(publication, watching)

    def _on_unsubscribed(self, track: rtc.RemoteTrack, *_: object) -> None:
        if shown := self._shown.pop(track.sid, None):
            shown.watching.cancel()

    async def _watch(self, track: rtc.RemoteVideoTrack) -> None:
        # A still screen sends no frame for seconds, so the last one is kept.
        stream = rtc.VideoStream(track, capacity=1)
        try:
            async for event in stream:
                self._shown[track.sid].frame = event.frame
        finally:
            await stream.aclose()

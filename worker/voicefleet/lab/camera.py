"""The caller's camera: a video track that always flows, and shows what is held before it."""

import asyncio

import numpy as np
from livekit import rtc

from voicefleet.lab import pictures
from voicefleet.lab.fed_source import FedSource

# What browsers ask of a camera by default.
WIDTH, HEIGHT = 1280, 720
FRAMES_PER_SECOND = 30
# Nobody holds a thing still: each frame is this much beside the one before, so that a decoder has
# something to do.
SWAY_PIXELS = 4
SWAY_FRAMES = 20


class Camera(FedSource[rtc.VideoSource]):
    """A video source that is fed by a task of its own while the block lasts."""

    def __init__(self) -> None:
        super().__init__(rtc.VideoSource(WIDTH, HEIGHT), "caller-camera")
        self._picture = pictures.draw("", WIDTH, HEIGHT)

    async def publish(self, room: rtc.Room) -> None:
        track = rtc.LocalVideoTrack.create_video_track(self._name, self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA)
        await room.local_participant.publish_track(track, options)

    def show(self, what: str) -> None:
        """:raises UsageError: if there is no such picture (`pictures.draw`)."""
        self._picture = pictures.draw(what, WIDTH, HEIGHT)

    async def _feed(self) -> None:
        number = 0
        while True:
            number += 1
            swayed = SWAY_PIXELS * abs(number % (2 * SWAY_FRAMES) - SWAY_FRAMES)
            picture = np.roll(self._picture, swayed, axis=1)
            frame = rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.RGBA, picture.tobytes())
            self._source.capture_frame(frame)
            await asyncio.sleep(1 / FRAMES_PER_SECOND)

"""The avatar of `avatar.py`, by LiveKit's own runner: what it is sent to say, with a face."""

import asyncio
import sys
from collections.abc import AsyncIterator

from livekit import rtc
from livekit.agents.voice.avatar import (
    AudioSegmentEnd,
    AvatarOptions,
    AvatarRunner,
    DataStreamAudioReceiver,
    VideoGenerator,
)

WIDTH, HEIGHT, FRAMES_PER_SECOND = 160, 120, 10.0
OPTIONS = AvatarOptions(WIDTH, HEIGHT, FRAMES_PER_SECOND, 24_000, 1)


class Face(VideoGenerator):
    def __init__(self) -> None:
        self._said = asyncio.Queue[rtc.AudioFrame | AudioSegmentEnd]()

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        await self._said.put(frame)

    def clear_buffer(self) -> None:
        while not self._said.empty():
            self._said.get_nowait()

    async def _frames(
        self,
    ) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        grey = bytes([128]) * (WIDTH * HEIGHT * 4)
        while True:
            yield rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.RGBA, grey)
            try:
                yield await asyncio.wait_for(self._said.get(), 1 / FRAMES_PER_SECOND)
            except TimeoutError:
                continue

    def __aiter__(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        return self._frames()


async def main(url: str, token: str) -> None:
    room = rtc.Room()
    await room.connect(url, token)
    receiver = DataStreamAudioReceiver(room)
    runner = AvatarRunner(room, audio_recv=receiver, video_gen=Face(), options=OPTIONS)
    await runner.start()
    await runner.wait_for_complete()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

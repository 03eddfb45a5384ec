"""A voice and a loudspeaker for tests: what is said sounds until the test lets it end."""

import asyncio
from typing import Never

from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS
from livekit.agents.voice import io

SAMPLE_RATE_HZ = 8000
TENTH_OF_A_SECOND = bytes(2 * SAMPLE_RATE_HZ // 10)


class Loudspeaker(io.AudioOutput):
    """Holds every sentence until `can_end` is set; `cut_count` is how many were cut short."""

    def __init__(self) -> None:
        super().__init__(label="test", capabilities=io.AudioOutputCapabilities(pause=False))
        self.can_end = asyncio.Event()
        self.is_sounding = asyncio.Event()
        self.cut_count = 0
        self._playing: asyncio.Task[None] | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self.is_sounding.is_set():
            self.is_sounding.set()
            self.on_playback_started(created_at=0.0)

    def flush(self) -> None:
        super().flush()
        if self.is_sounding.is_set() and self._playing is None:
            self._playing = asyncio.create_task(self._play(), name="test-playing")

    def clear_buffer(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
            self.cut_count += 1
            self._end(interrupted=True)

    async def _play(self) -> None:
        await self.can_end.wait()
        self._end(interrupted=False)

    def _end(self, *, interrupted: bool) -> None:
        self._playing = None
        self.is_sounding.clear()
        self.on_playback_finished(playback_position=0.1, interrupted=interrupted)


class Voice(tts.TTS[Never]):
    """A tenth of a second of silence for whatever is said; with `is_broken`, a provider's error."""

    def __init__(self, *, is_broken: bool = False) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=SAMPLE_RATE_HZ,
            num_channels=1,
        )
        self.is_broken = is_broken
        self.texts: list[str] = []

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> "_Utterance":
        self.texts.append(text)
        return _Utterance(tts=self, input_text=text, conn_options=conn_options)


class _Utterance(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        assert isinstance(self._tts, Voice)
        if self._tts.is_broken:
            raise APIError("the voice is broken", retryable=False)
        output_emitter.initialize(
            request_id="utterance",
            sample_rate=SAMPLE_RATE_HZ,
            num_channels=1,
            mime_type="audio/pcm",
        )
        output_emitter.push(TENTH_OF_A_SECOND)
        output_emitter.flush()

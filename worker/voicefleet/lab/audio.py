"""Sound as bytes: 16-bit little-endian samples of one channel, their rate, and file formats."""

import io
import wave
from typing import Any

import av
import av.error
import numpy as np

from voicefleet import errors

# What a request may ask for, and what PyAV calls it: container, codec.
ENCODERS = {
    "mp3": ("mp3", "libmp3lame"),
    "opus": ("ogg", "libopus"),
    "aac": ("adts", "aac"),
    "flac": ("flac", "flac"),
}


class Resampler:
    """Changes the rate of a stream; keeps what it needs between pieces."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._from_rate = from_rate
        self._is_needed = from_rate != to_rate
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=to_rate)
        self._odd = b""

    def push(self, pcm: bytes) -> bytes:
        """Half a sample at the end waits for its other half."""
        pcm = self._odd + pcm
        whole = len(pcm) // 2 * 2
        self._odd = pcm[whole:]
        if not self._is_needed or not whole:
            return pcm[:whole]
        frames = self._resampler.resample(_frame(pcm[:whole], self._from_rate))
        return b"".join(_pcm(frame) for frame in frames)

    def flush(self) -> bytes:
        """The last samples; the stream ends here."""
        if not self._is_needed:
            return b""
        return b"".join(_pcm(frame) for frame in self._resampler.resample(None))


def resample(pcm: bytes, from_rate: int, to_rate: int) -> bytes:
    if from_rate == to_rate or not pcm:
        return pcm
    resampler = Resampler(from_rate, to_rate)
    return resampler.push(pcm) + resampler.flush()


def encode(pcm: bytes, sample_rate: int, file_format: str) -> bytes:
    """A whole file: mp3, opus, aac, flac, wav, or pcm for the samples themselves."""
    if file_format == "pcm":
        return pcm
    if file_format == "wav":
        return _wav(pcm, sample_rate)
    container, codec = ENCODERS[file_format]
    target = io.BytesIO()
    with av.open(target, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=sample_rate)
        stream.layout = "mono"
        for packet in [*stream.encode(_frame(pcm, sample_rate)), *stream.encode(None)]:
            output.mux(packet)
    return target.getvalue()


def decode(data: bytes, to_rate: int) -> bytes:
    """The samples of a file in any format that FFmpeg knows.

    :raises UsageError: if it is no such file.
    """
    try:
        with av.open(io.BytesIO(data), "r") as source:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=to_rate)
            frames = [out for f in source.decode(audio=0) for out in resampler.resample(f)]
            return b"".join(_pcm(frame) for frame in [*frames, *resampler.resample(None)])
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        raise errors.UsageError(
            f"{len(data)} bytes are not a sound file: {error}", fix="send a WAV or MP3 file"
        ) from error


def _wav(pcm: bytes, sample_rate: int) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(2)
        output.setframerate(sample_rate)
        output.writeframes(pcm)
    return target.getvalue()


def _frame(pcm: bytes, sample_rate: int) -> av.AudioFrame:
    samples = np.frombuffer(pcm, dtype="<i2").reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate = sample_rate
    return frame


def _pcm(frame: av.AudioFrame) -> bytes:
    return frame.to_ndarray().astype("<i2").tobytes()

"""LiveKit's measure of how fast an answer is spoken, by which captions keep pace with the sound.

LiveKit computes the spectrum of each second of speech in eighty calls of numpy, ten times a second
of an answer. A voice that is made faster than it is spoken comes in one piece, and the event loop
of the call then stands still for 40 ms a second of it, just before its first sound is sent. Here a
whole second is one call: the same number, in a fifth of the time.

`SpeakingRateStream` is private (livekit-agents 1.8.9, voice/transcription/_speaking_rate.py).
"""

from typing import Any

import numpy as np
from livekit.agents.voice.transcription._speaking_rate import SpeakingRateStream
from numpy.lib.stride_tricks import sliding_window_view

FRAME_SECONDS = 0.025


def compute_at_once() -> None:
    """Have every session of this process compute it so."""
    stream: Any = SpeakingRateStream
    stream._spectral_flux = spectral_flux


def spectral_flux(
    _: SpeakingRateStream, audio: np.ndarray[tuple[int], np.dtype[np.float32]], sample_rate: int
) -> float:
    """The mean change from one frame's spectrum to the next, of a window of `audio`."""
    length = int(sample_rate * FRAME_SECONDS)
    if len(audio) < length:
        return 0.0
    hann = np.hanning(length)
    frames: Any = sliding_window_view(audio, length)[:: length // 2]
    spectra = np.abs(np.fft.rfft(frames * hann)) / np.sqrt(np.sum(hann**2))
    if len(spectra) < 2:
        return 0.0
    return float(np.mean(np.sum(np.abs(np.diff(spectra, axis=0)), axis=1)))

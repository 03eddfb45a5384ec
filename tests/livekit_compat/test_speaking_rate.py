"""LiveKit's speaking rate is still the number that `livekit_compat/speaking_rate.py` computes."""

import numpy as np
import pytest
from livekit.agents.voice.transcription import _speaking_rate
from livekit.agents.voice.transcription._speaking_rate import SpeakingRateStream

from tests.livekit_compat.contract import expect
from voicefleet.livekit_compat import speaking_rate

WHERE = "See livekit_compat/speaking_rate.py."

LIVEKITS = SpeakingRateStream._spectral_flux


class Stream:
    """What LiveKit's own computation uses of its stream."""

    _stft = SpeakingRateStream._stft


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("seconds", [0.02, 0.03, 0.51, 1.0])
def test_it_is_the_same_number_for_every_rate_and_window(rate: int, seconds: float) -> None:
    window = np.arange(int(rate * seconds), dtype=np.float32) / rate
    # A voice that glides, and breath.
    sound = np.sin(2 * np.pi * (150 + 200 * window) * window).astype(np.float32)
    sound += np.random.default_rng(1).normal(0, 0.01, len(window)).astype(np.float32)
    stream: SpeakingRateStream = Stream()  # type: ignore[assignment]
    if len(window) < int(rate * speaking_rate.FRAME_SECONDS):
        assert speaking_rate.spectral_flux(stream, sound, rate) == 0.0
        return
    ours, theirs = speaking_rate.spectral_flux(stream, sound, rate), LIVEKITS(stream, sound, rate)
    expect(
        ours == pytest.approx(theirs, rel=1e-9),
        f"LiveKit computes another speaking rate: captions would come at another pace. {WHERE}",
    )


def test_each_stream_of_a_process_computes_it_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SpeakingRateStream, "_spectral_flux", LIVEKITS)
    speaking_rate.compute_at_once()
    assert _speaking_rate.SpeakingRateStream._spectral_flux is speaking_rate.spectral_flux

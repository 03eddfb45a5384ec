"""What the query of a live stream's address asks of Deepgram.

https://developers.deepgram.com/reference/speech-to-text/listen-streaming
"""

from collections.abc import Mapping
from dataclasses import dataclass

from worker import errors

# Deepgram's own default endpointing is 10 ms, and LiveKit asks for 25. espeak-ng at our pace pauses
# up to 0.18 s at a comma and 0.36 s between sentences: with less than this a turn would fall into
# pieces, or a sentence would, and its second half cannot be recognised. LiveKit's VAD waits 0.55 s,
# so no turn is answered later for it.
MIN_END_SILENCE_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Settings:
    """What the query of the address asks for."""

    sample_rate: int
    end_silence_seconds: float
    utterance_end_seconds: float
    wants_interim: bool
    wants_started: bool


def parse_settings(query: Mapping[str, str]) -> Settings:
    """What is asked.

    :raises UsageError: if it does not exist, or this stand-in cannot do it.
    """
    if query.get("encoding", "linear16") != "linear16":
        raise errors.UsageError("only linear16 is understood here", fix="ask for encoding=linear16")
    if query.get("channels", "1") != "1":
        raise errors.UsageError("only one channel is understood here", fix="ask for channels=1")
    endpointing = query.get("endpointing", "10")
    asked_silence = 0 if endpointing in ("true", "false") else _whole("endpointing", endpointing)
    never = 3600.0
    return Settings(
        sample_rate=_whole("sample_rate", query.get("sample_rate", ""), least=8_000, most=48_000),
        end_silence_seconds=never
        if endpointing == "false"
        else max(MIN_END_SILENCE_SECONDS, asked_silence / 1000),
        utterance_end_seconds=_whole("utterance_end_ms", query.get("utterance_end_ms", "0")) / 1000,
        wants_interim=query.get("interim_results") == "true",
        wants_started=query.get("vad_events") == "true",
    )


def _whole(name: str, text: str, *, least: int = 0, most: int = 3_600_000) -> int:
    if text.isdecimal() and len(text) < 9 and least <= int(text) <= most:
        return int(text)
    raise errors.UsageError(
        f"{name} is {text[:40]!r}", fix=f"give a whole number from {least} to {most}"
    )

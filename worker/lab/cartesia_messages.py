"""What Cartesia is asked, and how it refuses.

https://docs.cartesia.ai/api-reference/tts/websocket and https://docs.cartesia.ai/use-the-api/api-errors
"""

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiohttp import web

from worker.lab import reception, speech
from worker.lab.reception import Refuse

PROVIDER = "cartesia"
# From this version on errors are objects, before they were "Title: message".
STRUCTURED_ERRORS_SINCE = "2026-03-01"
ENCODINGS = ("pcm_s16le", "pcm_f32le")
MAX_TRANSCRIPT_CHARACTERS = 20_000
LONGEST_VOICE_CHARACTERS = 40

USUAL = {
    400: ("invalid_request", "Bad request: the request is malformed"),
    401: ("unauthorized", "Unauthorized: the API key is invalid"),
    429: ("concurrency_limited", "Too many concurrent requests: you have exceeded your limit"),
    500: ("internal_error", "Internal server error: try again"),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """One text to speak, and how. `is_last` ends its context."""

    transcript: str
    voice: str
    context_id: str
    container: str
    encoding: str
    sample_rate: int
    words_per_minute: int
    is_last: bool
    is_flush: bool
    wants_words: bool
    buffers: bool

    def samples(self, pcm: bytes) -> bytes:
        """16-bit samples in the encoding that was asked for."""
        if self.encoding == "pcm_s16le":
            return pcm
        return (np.frombuffer(pcm, dtype="<i2").astype("<f4") / 32_768).astype("<f4").tobytes()


def refuser(version: str) -> Refuse:
    """Refuses over HTTP as this version of the API does."""

    def refuse(status: int, message: str) -> web.HTTPException:
        fields = error_fields(version, status, message)
        if "error" in fields:
            return reception.refusal(status, fields["error"])
        return reception.refusal(status, {**fields, "request_id": str(uuid.uuid4())})

    return refuse


def error_fields(version: str, status: int, message: str) -> dict[str, Any]:
    """What says what went wrong, in HTTP bodies and websocket messages alike."""
    code, usual = USUAL[status]
    title, _, detail = (message or usual).partition(": ")
    if version >= STRUCTURED_ERRORS_SINCE:
        return {"error_code": code, "title": title, "message": detail or title}
    return {"error": message or usual}


def parse_wish(text: str | bytes) -> Wish | str:
    """What is wished for, or the sentence that refuses it."""
    document = reception.parse_object(text)
    if document is None:
        return "Bad request: the message is not a JSON object"
    form = document.get("output_format")
    if not isinstance(form, dict):
        return "Bad request: output_format is missing"
    problem = _problem(document, form)
    if problem:
        return f"Bad request: {problem}"
    return Wish(
        transcript=document["transcript"],
        voice=str(document["voice"].get("id", ""))[:LONGEST_VOICE_CHARACTERS],
        context_id=document.get("context_id", ""),
        container=form["container"],
        encoding=form.get("encoding", "pcm_s16le"),
        sample_rate=form["sample_rate"],
        words_per_minute=round(speech.WORDS_PER_MINUTE * _speed(document)),
        is_last=document.get("continue") is not True,
        is_flush=document.get("flush") is True,
        wants_words=document.get("add_timestamps") is True,
        buffers=document.get("max_buffer_delay_ms") != 0,
    )


def _problem(document: dict[str, Any], form: dict[str, Any]) -> str:
    transcript = document.get("transcript")
    if not isinstance(transcript, str) or len(transcript) > MAX_TRANSCRIPT_CHARACTERS:
        return f"transcript must be a string of at most {MAX_TRANSCRIPT_CHARACTERS} characters"
    if not isinstance(document.get("model_id"), str):
        return "model_id is missing"
    if not isinstance(document.get("voice"), dict):
        return "voice is missing"
    if not isinstance(document.get("context_id", ""), str):
        return "context_id must be a string"
    if form.get("container") not in ("raw", "wav", "mp3"):
        return "container must be raw, wav or mp3"
    if form.get("encoding", ENCODINGS[0]) not in ENCODINGS:
        return f"encoding must be one of {', '.join(ENCODINGS)}"
    rate = form.get("sample_rate")
    return "" if type(rate) is int and 8_000 <= rate <= 48_000 else "sample_rate is not supported"


def _speed(document: dict[str, Any]) -> float:
    config = document.get("generation_config")
    speed = config.get("speed") if isinstance(config, dict) else None
    return float(speed) if isinstance(speed, int | float) and 0.6 <= speed <= 2.0 else 1.0

"""Stands in for OpenAI's speech and transcription.

Wire format: https://platform.openai.com/docs/api-reference/audio
"""

import asyncio
import base64
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from worker import errors
from worker.lab import audio, openai_errors, reception, speech
from worker.lab.behaviour import Fault, Record
from worker.lab.grammar import SAMPLE_RATE
from worker.lab.reception import DESK
from worker.lab.recognition import HeardWord, Recognizer

SPEECH_RATE = 24_000
PIECE_BYTES = 4_096
MAX_INPUT_CHARACTERS = 4_096
CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be spoken, and how."""

    text: str
    file_format: str
    is_sse: bool
    words_per_minute: int


@dataclass(frozen=True, slots=True)
class Recording:
    """What is to be transcribed, and how."""

    sound: bytes
    response_format: str


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_post("/openai/v1/audio/speech", _speak)
    router.add_post("/openai/v1/audio/transcriptions", _transcribe)


async def _speak(request: web.Request) -> web.StreamResponse:
    record = await reception.admit(
        request, "openai-tts", openai_errors.key(request), openai_errors.refuse
    )
    wish = parse_wish(await request.read())
    sound = await asyncio.to_thread(_synthesize, wish)
    await record.delay(request.app[DESK].behaviours.latency_seconds("openai-tts"))
    kind = "text/event-stream" if wish.is_sse else CONTENT_TYPES[wish.file_format]
    response = web.StreamResponse(headers={"Content-Type": kind})
    response.headers["x-request-id"] = f"req_{uuid.uuid4().hex}"
    await response.prepare(request)
    await _send(request, response, record, wish, sound)
    return response


def parse_wish(body: bytes) -> Wish:
    """:raises HTTPException: if OpenAI would refuse it too."""
    document = reception.parse_object(body)
    if document is None:
        raise openai_errors.refuse(400, "We could not parse the JSON body of your request.")
    text, file_format = document.get("input"), document.get("response_format", "mp3")
    stream_format, speed = document.get("stream_format", "audio"), document.get("speed", 1.0)
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_INPUT_CHARACTERS:
        raise openai_errors.refuse(
            400, "Invalid 'input': expected a string of 1 to 4096 characters."
        )
    if not isinstance(file_format, str) or file_format not in CONTENT_TYPES:
        raise openai_errors.refuse(400, "Invalid 'response_format'.")
    if stream_format not in ("audio", "sse"):
        raise openai_errors.refuse(400, "Invalid 'stream_format': expected 'audio' or 'sse'.")
    if type(speed) not in (int, float) or not 0.25 <= speed <= 4.0:
        raise openai_errors.refuse(400, "Invalid 'speed': expected a number from 0.25 to 4.0.")
    pace = round(speech.WORDS_PER_MINUTE * speed)
    return Wish(text, file_format, stream_format == "sse", pace)


def _synthesize(wish: Wish) -> bytes:
    said = speech.synthesize(
        wish.text, sample_rate=SPEECH_RATE, words_per_minute=wish.words_per_minute
    )
    return audio.encode(said.pcm, SPEECH_RATE, wish.file_format)


async def _send(
    request: web.Request, response: web.StreamResponse, record: Record, wish: Wish, sound: bytes
) -> None:
    is_cut = record.fault is Fault.CUT
    end = len(sound) // 2 if is_cut else len(sound)
    for start in range(0, end, PIECE_BYTES):
        piece = sound[start : min(start + PIECE_BYTES, end)]
        delta = {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()}
        await response.write(_sse(delta) if wish.is_sse else piece)
        record.answer()
    if is_cut:
        reception.hang_up(request)
    elif wish.is_sse:
        tokens = {"input_tokens": len(wish.text) // 4 + 1, "output_tokens": len(sound) // 400 + 1}
        usage = {**tokens, "total_tokens": sum(tokens.values())}
        await response.write(_sse({"type": "speech.audio.done", "usage": usage}))


def _sse(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


async def _transcribe(request: web.Request) -> web.StreamResponse:
    record = await reception.admit(
        request, "openai-stt", openai_errors.key(request), openai_errors.refuse
    )
    recording = await _read_recording(request)
    desk = request.app[DESK]
    try:
        seconds, text, words = await asyncio.to_thread(
            _recognize, recording.sound, desk.conversation.caller_phrases
        )
    except errors.UsageError as error:
        message = "Audio file might be corrupted or unsupported"
        raise openai_errors.refuse(400, message) from error
    await record.delay(desk.behaviours.latency_seconds("openai-stt"))
    record.answer()
    if record.fault is Fault.CUT:
        reception.hang_up(request)
    if recording.response_format == "text":
        return web.Response(text=text + "\n")
    if recording.response_format == "verbose_json":
        return web.json_response(_verbose(text, seconds, words))
    usage = {"type": "duration", "seconds": round(seconds)}
    return web.json_response({"text": text, "usage": usage})


async def _read_recording(request: web.Request) -> Recording:
    """:raises HTTPException: if OpenAI would refuse it too."""
    try:
        fields = await request.post()
    except (ValueError, LookupError, AssertionError, RuntimeError):
        raise openai_errors.refuse(400, "Could not parse multipart form") from None
    file, response_format = fields.get("file"), fields.get("response_format", "json")
    if not isinstance(file, web.FileField):
        raise openai_errors.refuse(400, "Invalid 'file': expected a sound file.")
    if response_format not in ("json", "verbose_json", "text"):
        raise openai_errors.refuse(400, "Invalid 'response_format': json, verbose_json or text.")
    return Recording(file.file.read(), str(response_format))


def _recognize(sound: bytes, phrases: Sequence[str]) -> tuple[float, str, tuple[HeardWord, ...]]:
    pcm = audio.decode(sound, SAMPLE_RATE)
    recognizer = Recognizer(phrases)
    recognizer.feed(pcm)
    text = recognizer.finish()
    return len(pcm) / 2 / SAMPLE_RATE, text, recognizer.heard


def _verbose(text: str, seconds: float, words: Sequence[HeardWord]) -> dict[str, Any]:
    return {
        "task": "transcribe",
        "language": "english",
        "duration": round(seconds, 3),
        "text": text,
        "segments": [],
        "words": [
            {"word": w.text, "start": round(w.start_seconds, 3), "end": round(w.end_seconds, 3)}
            for w in words
        ],
    }

"""Stands in for OpenAI: the models list and chat completions; sound is in `openai_audio`, and the
model that hears and speaks by itself in `openai_realtime`.

Wire format: https://platform.openai.com/docs/api-reference/chat and .../chat-streaming, errors:
https://platform.openai.com/docs/guides/error-codes
"""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aiohttp import web

from voicefleet import errors
from voicefleet.lab import audio, openai_realtime, reception, script, speech
from voicefleet.lab.behaviour import Fault, Record
from voicefleet.lab.conversation import ToolCall
from voicefleet.lab.reception import DESK
from voicefleet.lab.recognition import SAMPLE_RATE, HeardWord, Recognizer

# The usual sentence, type and code of each status.
USUAL = {
    400: ("Your request is malformed.", "invalid_request_error", None),
    401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    404: ("Invalid URL", "invalid_request_error", None),
    429: ("Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
    500: ("The server had an error while processing your request.", "server_error", None),
}


def refuse(status: int, message: str) -> web.HTTPException:
    usual, kind, code = USUAL[status]
    body = {"message": message or usual, "type": kind, "param": None, "code": code}
    return reception.refusal(status, {"error": body})


def key(request: web.Request) -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


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


def add_audio_routes(router: web.UrlDispatcher) -> None:
    router.add_post("/openai/v1/audio/speech", _speak)
    router.add_post("/openai/v1/audio/transcriptions", _transcribe)


async def _speak(request: web.Request) -> web.StreamResponse:
    record = await reception.admit(request, "openai-tts", key(request), refuse)
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
        raise refuse(400, "We could not parse the JSON body of your request.")
    text, file_format = document.get("input"), document.get("response_format", "mp3")
    stream_format, speed = document.get("stream_format", "audio"), document.get("speed", 1.0)
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_INPUT_CHARACTERS:
        raise refuse(400, "Invalid 'input': expected a string of 1 to 4096 characters.")
    if not isinstance(file_format, str) or file_format not in CONTENT_TYPES:
        raise refuse(400, "Invalid 'response_format'.")
    if stream_format not in ("audio", "sse"):
        raise refuse(400, "Invalid 'stream_format': expected 'audio' or 'sse'.")
    if type(speed) not in (int, float) or not 0.25 <= speed <= 4.0:
        raise refuse(400, "Invalid 'speed': expected a number from 0.25 to 4.0.")
    pace = round(speech.WORDS_PER_MINUTE * speed)
    return Wish(text, file_format, stream_format == "sse", pace)


# To encode a long answer takes a tenth of a second, which no setting of the stand-in asked for.
@lru_cache(maxsize=256)
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
    record = await reception.admit(request, "openai-stt", key(request), refuse)
    recording = await _read_recording(request)
    desk = request.app[DESK]
    try:
        seconds, text, words = await asyncio.to_thread(
            _recognize, recording.sound, desk.conversation.caller_phrases
        )
    except errors.UsageError as error:
        message = "Audio file might be corrupted or unsupported"
        raise refuse(400, message) from error
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
        raise refuse(400, "Could not parse multipart form") from None
    file, response_format = fields.get("file"), fields.get("response_format", "json")
    if not isinstance(file, web.FileField):
        raise refuse(400, "Invalid 'file': expected a sound file.")
    if response_format not in ("json", "verbose_json", "text"):
        raise refuse(400, "Invalid 'response_format': json, verbose_json or text.")
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


PROVIDER = "openai-llm"
MODELS = ("gpt-4.1", "gpt-4o-mini", "gpt-4o-mini-tts", "gpt-4o-mini-transcribe", "whisper-1")


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks, once it is known to be well formed."""

    model: str
    messages: list[dict[str, Any]]
    offered: frozenset[str]
    is_streamed: bool
    wants_usage: bool


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_get("/openai/v1/models", _list_models)
    router.add_post("/openai/v1/chat/completions", _complete)
    add_audio_routes(router)
    openai_realtime.add_routes(router)
    router.add_route("*", "/openai/{path:.*}", _unknown)


async def _unknown(request: web.Request) -> web.StreamResponse:
    message = f"Invalid URL ({request.method} /{request.match_info['path'][:80]})"
    raise refuse(404, message)


async def _list_models(request: web.Request) -> web.Response:
    record = await reception.admit(request, PROVIDER, key(request), refuse)
    record.answer()
    models = [{"id": name, "object": "model", "owned_by": "voicefleet"} for name in MODELS]
    return web.json_response({"object": "list", "data": models})


async def _complete(request: web.Request) -> web.StreamResponse:
    record = await reception.admit(request, PROVIDER, key(request), refuse)
    desk = request.app[DESK]
    question = parse(await request.read())
    reply = script.reply(desk.conversation, question.messages, question.offered)
    record.note = reply.note
    await record.delay(desk.behaviours.latency_seconds(PROVIDER))
    if question.is_streamed:
        return await _stream(request, record, question, reply)
    record.answer()
    if record.fault is Fault.CUT:
        reception.hang_up(request)
    return web.json_response(_whole(question, reply))


def parse(body: bytes) -> Question:
    """:raises HTTPException: if OpenAI would refuse it too."""
    document = reception.parse_object(body)
    if document is None:
        raise refuse(400, "We could not parse the JSON body of your request.")
    model, messages = document.get("model"), document.get("messages")
    if not isinstance(model, str) or not model:
        raise refuse(400, "you must provide a model parameter")
    if not isinstance(messages, list) or not messages:
        raise refuse(400, "Invalid 'messages': expected a non-empty array.")
    if not all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in messages):
        raise refuse(400, "Invalid 'messages': expected objects with a role.")
    options = document.get("stream_options")
    return Question(
        model=model,
        messages=messages,
        offered=frozenset() if document.get("tool_choice") == "none" else _offered(document),
        is_streamed=document.get("stream") is True,
        wants_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _offered(document: dict[str, Any]) -> frozenset[str]:
    tools = document.get("tools")
    functions = (
        [tool.get("function") for tool in tools or () if isinstance(tool, dict)]
        if isinstance(tools, list)
        else []
    )
    return frozenset(str(f.get("name")) for f in functions if isinstance(f, dict))


async def _stream(
    request: web.Request, record: Record, question: Question, reply: script.Reply
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    response.headers["x-request-id"] = f"req_{uuid.uuid4().hex}"
    await response.prepare(request)
    chunks = list(_chunks(question, reply))
    if record.fault is Fault.CUT:
        chunks = chunks[: len(chunks) // 2]
    for chunk in chunks:
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        record.answer()
    if record.fault is Fault.CUT:
        reception.hang_up(request)
        return response
    await response.write(b"data: [DONE]\n\n")
    return response


def _chunks(question: Question, reply: script.Reply) -> Iterator[dict[str, Any]]:
    common = _common("chat.completion.chunk", question)
    deltas = [{"role": "assistant", "content": None if reply.tools else ""}, *_deltas(reply)]
    for delta in deltas:
        yield {**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    end = {"index": 0, "delta": {}, "finish_reason": _finish_reason(reply)}
    yield {**common, "choices": [end]}
    if question.wants_usage:
        yield {**common, "choices": [], "usage": _usage(question, reply)}


def _deltas(reply: script.Reply) -> Iterator[dict[str, Any]]:
    """Text comes word by word; a tool's arguments in two pieces, as real ones come in several."""
    for index, word in enumerate(reply.text.split(" ") if reply.text else ()):
        yield {"content": word if index == 0 else f" {word}"}
    for index, tool in enumerate(reply.tools):
        call = {**_call(tool), "index": index}
        arguments = call["function"]["arguments"]
        call["function"]["arguments"] = ""
        yield {"tool_calls": [call]}
        half = len(arguments) // 2
        for piece in (arguments[:half], arguments[half:]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _whole(question: Question, reply: script.Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None}
    if reply.tools:
        message["tool_calls"] = [_call(tool) for tool in reply.tools]
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(reply)}
    common = _common("chat.completion", question)
    return {**common, "choices": [choice], "usage": _usage(question, reply)}


def _common(kind: str, question: Question) -> dict[str, Any]:
    identity = f"chatcmpl-{uuid.uuid4().hex}"
    return {"id": identity, "object": kind, "created": int(time.time()), "model": question.model}


def _call(tool: ToolCall) -> dict[str, Any]:
    function = {"name": tool.name, "arguments": json.dumps(tool.arguments)}
    return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}


def _finish_reason(reply: script.Reply) -> str:
    return "tool_calls" if reply.tools else "stop"


def _usage(question: Question, reply: script.Reply) -> dict[str, int]:
    """A token is about four letters: https://platform.openai.com/tokenizer"""
    prompt = sum(len(script.text_of(message)) for message in question.messages) // 4 + 1
    said = reply.text + "".join(json.dumps(tool.arguments) + tool.name for tool in reply.tools)
    completion = len(said) // 4 + 1
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }

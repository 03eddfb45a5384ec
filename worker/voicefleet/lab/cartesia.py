"""Stands in for Cartesia's websocket: contexts that are spoken one text after another.

Wire format: https://docs.cartesia.ai/api-reference/tts/websocket
"""

import asyncio
import base64
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from voicefleet.lab import audio, reception, speech
from voicefleet.lab.behaviour import Behaviours, Fault, Record
from voicefleet.lab.reception import DESK, Refuse
from voicefleet.lab.speech import Speech

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


# One message holds this much sound; all are sent at once, as fast as the client reads.
CHUNK_SECONDS = 0.1
SENTENCE_ENDS = (".", "!", "?", ":", ";")


async def serve(request: web.Request, version: str, fault: Fault) -> web.StreamResponse:
    """Serve one connection until the client ends it."""
    socket = web.WebSocketResponse(max_msg_size=1024 * 1024)
    socket.headers["X-Request-Id"] = str(uuid.uuid4())
    await socket.prepare(request)
    async with asyncio.TaskGroup() as tasks:
        connection = _Connection(request, socket, version, fault, tasks)
        await connection.receive()
        connection.cancel_all()
    return socket


class _Connection:
    """Each context is a queue of texts and a task that speaks them."""

    def __init__(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        version: str,
        fault: Fault,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._request = request
        self._socket = socket
        self._version = version
        self._fault = fault
        self._tasks = tasks
        self._contexts: dict[str, tuple[asyncio.Queue[Wish], asyncio.Task[None]]] = {}

    async def receive(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                await self._refuse("", "Bad request: send text messages")
                continue
            await self._take(message.data)

    def cancel_all(self) -> None:
        for _, task in self._contexts.values():
            task.cancel()

    async def _take(self, text: str) -> None:
        document = reception.parse_object(text) or {}
        context_id = document.get("context_id")
        if document.get("cancel") is True and isinstance(context_id, str):
            if context_id in self._contexts:
                self._contexts.pop(context_id)[1].cancel()
            return
        wish = parse_wish(text)
        if isinstance(wish, str):
            await self._refuse(context_id if isinstance(context_id, str) else "", wish)
        elif wish.container != "raw":
            await self._refuse(wish.context_id, "Bad request: only raw sound can be streamed")
        elif self._fault is not Fault.SILENCE:
            self._queue(wish)

    def _queue(self, wish: Wish) -> None:
        if wish.context_id not in self._contexts:
            wishes: asyncio.Queue[Wish] = asyncio.Queue()
            name = f"cartesia context {wish.context_id}"
            self._contexts[wish.context_id] = (
                wishes,
                self._tasks.create_task(self._speak_context(wish.context_id, wishes), name=name),
            )
        self._contexts[wish.context_id][0].put_nowait(wish)

    async def _speak_context(self, context_id: str, wishes: asyncio.Queue[Wish]) -> None:
        behaviours: Behaviours = self._request.app[DESK].behaviours
        record = behaviours.note(PROVIDER, "text")
        context = _Context(context_id, self._request, self._socket, record, self._fault)
        try:
            is_over = False
            while not is_over:
                is_over = await context.take(await wishes.get(), behaviours)
        except ConnectionError:
            return  # the client has gone: `receive` sees it
        finally:
            self._contexts.pop(context_id, None)

    async def _refuse(self, context_id: str, message: str) -> None:
        fields = error_fields(self._version, 400, message)
        error = {"type": "error", "done": True, "status_code": 400, **fields}
        await self._socket.send_str(json.dumps({**error, "context_id": context_id or None}))


class _Context:
    """One piece of speech, whose texts follow each other without a seam."""

    def __init__(
        self,
        context_id: str,
        request: web.Request,
        socket: web.WebSocketResponse,
        record: Record,
        fault: Fault,
    ) -> None:
        self._context_id = context_id
        self._request = request
        self._socket = socket
        self._record = record
        self._fault = fault
        self._text = ""
        self._seconds = 0.0
        self._flushes = 0

    async def take(self, wish: Wish, behaviours: Behaviours) -> bool:
        """Whether this was the context's last text."""
        self._text += wish.transcript
        self._record.note = f"voice {wish.voice}"
        must_speak = wish.is_last or wish.is_flush or not wish.buffers
        if must_speak or self._text.rstrip().endswith(SENTENCE_ENDS):
            text, self._text = self._text, ""
            if text.strip():
                await self._speak(text, wish, behaviours)
        if wish.is_flush:
            self._flushes += 1
            await self._send("flush_done", flush_done=True, flush_id=self._flushes)
        if wish.is_last:
            await self._send("done", is_done=True)
        return wish.is_last

    async def _speak(self, text: str, wish: Wish, behaviours: Behaviours) -> None:
        began = time.monotonic()
        said = await asyncio.to_thread(
            speech.synthesize,
            text,
            sample_rate=wish.sample_rate,
            words_per_minute=wish.words_per_minute,
        )
        if self._record.first_answer is None:
            await self._record.delay(behaviours.latency_seconds(PROVIDER))
        step_bytes = int(wish.sample_rate * CHUNK_SECONDS) * 2
        for start in range(0, len(said.pcm), step_bytes):
            data = base64.b64encode(wish.samples(said.pcm[start : start + step_bytes])).decode()
            step_time = round((time.monotonic() - began) * 1000, 1)
            await self._send("chunk", data=data, step_time=step_time)
            self._record.answer()
            if self._fault is Fault.CUT:
                reception.hang_up(self._request)
                return
        if wish.wants_words and said.words:
            await self._send("timestamps", word_timestamps=self._timestamps(said))
        self._seconds += said.duration_seconds

    def _timestamps(self, said: Speech) -> dict[str, Any]:
        """In seconds since the context's first sample."""
        return {
            "words": [word.text for word in said.words],
            "start": [round(self._seconds + word.start_seconds, 3) for word in said.words],
            "end": [round(self._seconds + word.end_seconds, 3) for word in said.words],
        }

    async def _send(self, kind: str, *, is_done: bool = False, **fields: Any) -> None:
        common = {"type": kind, "done": is_done, "status_code": 206}
        await self._socket.send_str(
            json.dumps({**common, **fields, "context_id": self._context_id})
        )


PIECE_BYTES = 4_096
CONTENT_TYPES = {"raw": "audio/pcm", "wav": "audio/wav", "mp3": "audio/mpeg"}


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_get("/cartesia/tts/websocket", _converse)
    router.add_post("/cartesia/tts/bytes", _speak)


async def _converse(request: web.Request) -> web.StreamResponse:
    refuse = refuser(_version(request))
    record = await reception.admit(request, PROVIDER, _key(request), refuse)
    if not reception.is_websocket(request):
        raise refuse(400, "Bad request: open a websocket")
    record.answer()
    return await serve(request, _version(request), record.fault)


async def _speak(request: web.Request) -> web.StreamResponse:
    refuse = refuser(_version(request))
    record = await reception.admit(request, PROVIDER, _key(request), refuse)
    wish = parse_wish(await request.read())
    if isinstance(wish, str):
        raise refuse(400, wish)
    if not wish.transcript.strip():
        raise refuse(400, "Bad request: transcript is empty")
    sound = await asyncio.to_thread(_synthesize, wish)
    await record.delay(request.app[DESK].behaviours.latency_seconds(PROVIDER))
    is_cut = record.fault is Fault.CUT
    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPES[wish.container]})
    await response.prepare(request)
    for start in range(0, len(sound) // 2 if is_cut else len(sound), PIECE_BYTES):
        await response.write(sound[start : start + PIECE_BYTES])
        record.answer()
    if is_cut:
        reception.hang_up(request)
    return response


def _synthesize(wish: Wish) -> bytes:
    said = speech.synthesize(
        wish.transcript, sample_rate=wish.sample_rate, words_per_minute=wish.words_per_minute
    )
    if wish.container == "raw":
        return wish.samples(said.pcm)
    return audio.encode(said.pcm, wish.sample_rate, wish.container)


def _key(request: web.Request) -> str:
    """Every way of https://docs.cartesia.ai/use-the-api/authentication"""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return str(request.headers.get("X-API-Key") or request.query.get("api_key") or bearer)


def _version(request: web.Request) -> str:
    return str(
        request.query.get("cartesia_version") or request.headers.get("Cartesia-Version") or ""
    )

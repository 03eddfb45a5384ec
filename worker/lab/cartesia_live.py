"""Stands in for Cartesia's websocket: contexts that are spoken one text after another.

Wire format: https://docs.cartesia.ai/api-reference/tts/websocket
"""

import asyncio
import base64
import json
import time
import uuid
from typing import Any

from aiohttp import WSMsgType, web

from worker.lab import reception, speech
from worker.lab.behaviour import Behaviours, Fault, Record
from worker.lab.cartesia_messages import PROVIDER, Wish, error_fields, parse_wish
from worker.lab.reception import DESK
from worker.lab.speech import Speech

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

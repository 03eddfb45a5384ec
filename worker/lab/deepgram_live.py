"""Stands in for Deepgram's live recognition: one websocket, sound in, results out.

Wire format: https://developers.deepgram.com/reference/speech-to-text/listen-streaming
"""

import asyncio
import contextlib
import json
import time
import uuid
from typing import Any

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from worker.lab import reception
from worker.lab.behaviour import Behaviours, Fault, Record
from worker.lab.deepgram_messages import PROVIDER, alternative, metadata
from worker.lab.deepgram_settings import Settings
from worker.lab.reception import DESK
from worker.lab.utterances import Event, Utterances, What

# https://developers.deepgram.com/docs/audio-keep-alive
NO_SOUND_SECONDS = 10.0
NO_SOUND_REASON = (
    "Deepgram did not receive audio data or a text message within the timeout window. "
    "See https://dpgr.am/net0001"
)


async def listen(request: web.Request, settings: Settings, fault: Fault) -> web.StreamResponse:
    """Serve one stream until either side ends it."""
    request_id = str(uuid.uuid4())
    socket = web.WebSocketResponse(max_msg_size=1024 * 1024)
    socket.headers["dg-request-id"] = request_id
    await socket.prepare(request)
    stream = await asyncio.to_thread(_Stream, request, socket, settings, fault, request_id)
    async with asyncio.TaskGroup() as tasks:
        sender = tasks.create_task(stream.send(), name=f"deepgram sender {request_id}")
        try:
            await stream.receive()
        finally:
            sender.cancel()
    return socket


class _Stream:
    """Two tasks: one takes sound and notices, the other sends what was noticed when it is due."""

    def __init__(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        settings: Settings,
        fault: Fault,
        request_id: str,
    ) -> None:
        self._request = request
        self._socket = socket
        self._settings = settings
        self._fault = fault
        self._request_id = request_id
        self._behaviours: Behaviours = request.app[DESK].behaviours
        self._utterances = Utterances(
            request.app[DESK].conversation.caller_phrases,
            settings.sample_rate,
            end_silence_seconds=settings.end_silence_seconds,
            quiet_seconds=settings.utterance_end_seconds,
        )
        self._outbox: asyncio.Queue[tuple[float, dict[str, Any], Record | None]] = asyncio.Queue()
        self._last_due = 0.0
        self._record: Record | None = None

    async def receive(self) -> None:
        while True:
            try:
                message = await self._socket.receive(timeout=NO_SOUND_SECONDS)
            except TimeoutError:
                await self._close(WSCloseCode.INTERNAL_ERROR, NO_SOUND_REASON)
                return
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return
            if not await self._take(message):
                return

    async def send(self) -> None:
        """Messages leave in order, each no earlier than it is due."""
        loop = asyncio.get_running_loop()
        while True:
            due, message, record = await self._outbox.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if record is not None:
                record.answer()
            with contextlib.suppress(ConnectionError):  # the client has gone: `receive` sees it
                await self._socket.send_str(json.dumps(message))
            self._outbox.task_done()

    async def _take(self, message: WSMessage) -> bool:
        """Whether the stream goes on."""
        if message.type is WSMsgType.BINARY:
            return await self._hear(message.data)
        control = reception.parse_object(message.data) or {}
        match control.get("type"):
            case "KeepAlive":
                return True
            case "Finalize":
                await self._finalize()
                return True
            case "CloseStream":
                if self._utterances.is_speech:
                    await self._finalize()
                self._put({"type": "Metadata", **self._metadata()}, None)
                await self._close(WSCloseCode.OK, "")
                return False
        description = "the text message is none of KeepAlive, Finalize and CloseStream"
        self._put(
            {"type": "Error", "variant": "UnparsableClientMessage", "description": description}
        )
        await self._close(WSCloseCode.POLICY_VIOLATION, "DATA-0000")
        return False

    async def _hear(self, pcm: bytes) -> bool:
        if self._fault is Fault.SILENCE:
            return True
        events = await asyncio.to_thread(self._utterances.feed, pcm)
        if self._utterances.is_loud_now:
            if self._record is None:
                self._record = self._behaviours.note(PROVIDER, "utterance")
            self._record.arrived = time.time()
        for event in events:
            if self._fault is Fault.CUT and event.what in (What.INTERIM, What.FINAL):
                reception.hang_up(self._request)
                return False
            self._tell(event)
        return True

    async def _finalize(self) -> None:
        """https://developers.deepgram.com/docs/finalize"""
        if self._fault is Fault.SILENCE:
            return
        event = await asyncio.to_thread(self._utterances.finish)
        self._put(self._results(event, from_finalize=True), self._take_record())

    def _tell(self, event: Event) -> None:
        match event.what:
            case What.STARTED if self._settings.wants_started:
                at = round(event.start_seconds, 3)
                self._put({"type": "SpeechStarted", "channel": [0, 1], "timestamp": at})
            case What.INTERIM if self._settings.wants_interim:
                self._put(self._results(event))
            case What.FINAL:
                self._put(self._results(event), self._take_record())
            case What.QUIET:
                end = round(event.end_seconds, 3)
                self._put({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": end})

    def _results(self, event: Event, *, from_finalize: bool = False) -> dict[str, Any]:
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "start": round(event.start_seconds, 3),
            "duration": round(event.end_seconds - event.start_seconds, 3),
            "is_final": event.what is What.FINAL,
            "speech_final": event.is_end or from_finalize,
            "from_finalize": from_finalize,
            "channel": {"alternatives": [alternative(event.text, event.words)]},
            "metadata": {"request_id": self._request_id, "model_uuid": str(uuid.UUID(int=0))},
        }

    def _metadata(self) -> dict[str, Any]:
        return metadata(self._request_id, self._utterances.seconds)

    def _take_record(self) -> Record | None:
        record, self._record = self._record, None
        return record

    def _put(self, message: dict[str, Any], record: Record | None = None) -> None:
        delay = self._behaviours.latency_seconds(PROVIDER)
        if record is not None:
            record.added_delay_seconds += delay
        self._last_due = max(self._last_due, asyncio.get_running_loop().time() + delay)
        self._outbox.put_nowait((self._last_due, message, record))

    async def _close(self, code: int, reason: str) -> None:
        """After everything that is still to be said."""
        await self._outbox.join()
        await self._socket.close(code=code, message=reason.encode())

"""Stands in for Deepgram's live recognition: one websocket, sound in, results out.

Wire format: https://developers.deepgram.com/reference/speech-to-text/listen-streaming
"""

import asyncio
import contextlib
import hashlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from voicefleet import errors
from voicefleet.lab import audio, conversation, reception
from voicefleet.lab.behaviour import Behaviours, Fault, Record
from voicefleet.lab.reception import DESK
from voicefleet.lab.recognition import SAMPLE_RATE, HeardWord, Recognizer
from voicefleet.lab.utterances import Event, Utterances, What

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


PROVIDER = "deepgram"
# A recogniser that knows every sentence is never unsure.
CONFIDENCE = 0.99


def alternative(text: str, words: Sequence[HeardWord]) -> dict[str, Any]:
    """What both kinds of answer call an alternative."""
    return {
        "transcript": text,
        "confidence": CONFIDENCE if text else 0.0,
        "words": [
            {
                "word": " ".join(conversation.words(word.text)),
                "punctuated_word": word.text,
                "start": round(word.start_seconds, 3),
                "end": round(word.end_seconds, 3),
                "confidence": CONFIDENCE,
            }
            for word in words
        ],
    }


def metadata(request_id: str, seconds: float, sound: bytes = b"") -> dict[str, Any]:
    return {
        "transaction_key": "deprecated",
        "request_id": request_id,
        "sha256": hashlib.sha256(sound).hexdigest(),
        "created": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "duration": round(seconds, 3),
        "channels": 1,
    }


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


USUAL = {
    400: ("Bad Request", "the request is malformed"),
    401: ("INVALID_AUTH", "Invalid credentials."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later"),
    500: ("INTERNAL_SERVER_ERROR", "Internal server error."),
}


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_get("/deepgram/v1/listen", _listen_live)
    router.add_post("/deepgram/v1/listen", _listen_to_recording)


def refuse(status: int, message: str) -> web.HTTPException:
    code, usual = USUAL[status]
    body = {"err_code": code, "err_msg": message or usual, "request_id": str(uuid.uuid4())}
    return reception.refusal(status, body)


async def _listen_live(request: web.Request) -> web.StreamResponse:
    record = await reception.admit(request, PROVIDER, _key(request), refuse)
    if not reception.is_websocket(request):
        raise refuse(400, "open a websocket, or POST a recording")
    try:
        settings = parse_settings(request.query)
    except errors.UsageError as error:
        raise refuse(400, f"{error.problem}; {error.fix}") from error
    record.answer()
    return await listen(request, settings, record.fault)


async def _listen_to_recording(request: web.Request) -> web.StreamResponse:
    record = await reception.admit(request, PROVIDER, _key(request), refuse)
    sound = await request.read()
    desk = request.app[DESK]
    try:
        pcm, text, words = await asyncio.to_thread(
            _recognize, sound, desk.conversation.caller_phrases
        )
    except errors.UsageError as error:
        message = f"failed to process audio: corrupt or unsupported data ({error.problem})"
        raise refuse(400, message) from error
    await record.delay(desk.behaviours.latency_seconds(PROVIDER))
    record.answer()
    if record.fault is Fault.CUT:
        reception.hang_up(request)
    seconds = len(pcm) / 2 / SAMPLE_RATE
    return web.json_response(
        {
            "metadata": metadata(str(uuid.uuid4()), seconds, sound),
            "results": {"channels": [{"alternatives": [alternative(text, words)]}]},
        }
    )


def _recognize(sound: bytes, phrases: Sequence[str]) -> tuple[bytes, str, tuple[HeardWord, ...]]:
    pcm = audio.decode(sound, SAMPLE_RATE)
    recognizer = Recognizer(phrases)
    recognizer.feed(pcm)
    text = recognizer.finish()
    return pcm, text, recognizer.heard


def _key(request: web.Request) -> str:
    """Both schemes of https://developers.deepgram.com/guides/fundamentals/authenticating"""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() in ("token", "bearer") else ""

"""Stands in for OpenAI's realtime API: one websocket on which a model hears, thinks and speaks.

Wire format: https://platform.openai.com/docs/api-reference/realtime-client-events and
.../realtime-server-events
"""

import asyncio
import base64
import binascii
import uuid
from typing import Any

from aiohttp import WSMsgType, web

from voicefleet import errors
from voicefleet.lab import openai, reception
from voicefleet.lab.behaviour import Fault
from voicefleet.lab.openai_realtime_response import (
    PROVIDER,
    SAMPLE_RATE,
    Items,
    Responses,
    Wire,
    message,
)
from voicefleet.lab.reception import DESK
from voicefleet.lab.utterances import Event, Utterances, What

# A turn ends with a pause that is longer than those of espeak-ng between sentences.
END_SILENCE_SECONDS = 0.55


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_get("/openai/v1/realtime", _converse)


async def _converse(request: web.Request) -> web.StreamResponse:
    key = openai.key(request)
    record = await reception.admit(request, PROVIDER, key, openai.refuse)
    if not reception.is_websocket(request):
        raise openai.refuse(400, "open a websocket")
    if not request.query.get("model"):
        raise openai.refuse(400, "you must provide a model parameter")
    record.answer()
    socket = web.WebSocketResponse(max_msg_size=1024 * 1024)
    await socket.prepare(request)
    wire = Wire(request, socket, record.fault)
    utterances = await asyncio.to_thread(_ears, request)
    async with asyncio.TaskGroup() as tasks:
        connection = _Connection(wire, utterances, tasks)
        await connection.serve()
    return socket


def _ears(request: web.Request) -> Utterances:
    phrases = request.app[DESK].conversation.caller_phrases
    return Utterances(phrases, SAMPLE_RATE, end_silence_seconds=END_SILENCE_SECONDS)


class _Connection:
    """Takes one client event after the other; answers are spoken by a task of their own."""

    def __init__(self, wire: Wire, utterances: Utterances, tasks: asyncio.TaskGroup) -> None:
        self._wire, self._utterances = wire, utterances
        self._items = Items()
        self._session: dict[str, Any] = {"type": "realtime", "object": "realtime.session"}
        self._responses = Responses(wire, self._items, tasks)
        self._spoken_item_id = ""
        self._uncommitted: list[str] = []

    async def serve(self) -> None:
        """Until the client ends it."""
        self._session["id"] = f"sess_{uuid.uuid4().hex[:20]}"
        await self._wire.send("session.created", session=self._session)
        try:
            async for one in self._wire.socket:
                if one.type is WSMsgType.TEXT:
                    await self._take(one.data)
                else:
                    await self._wire.refuse("", "send text messages")
        finally:
            self._responses.stop()

    async def _take(self, text: str) -> None:
        event = reception.parse_object(text) or {}
        event_id = str(event.get("event_id") or "")
        if self._wire.fault is Fault.SILENCE:
            return
        try:
            await self._act_on(event)
        except errors.UsageError as refusal:
            await self._wire.refuse(event_id, refusal.problem, code=refusal.fix)

    async def _act_on(self, event: dict[str, Any]) -> None:
        """:raises UsageError: if OpenAI would refuse it too; its fix is OpenAI's code."""
        match event.get("type"):
            case "session.update":
                await self._update(event.get("session"))
            case "input_audio_buffer.append":
                await self._hear(event.get("audio"))
            case "input_audio_buffer.commit":
                await self._commit()
            case "input_audio_buffer.clear":
                await asyncio.to_thread(self._utterances.finish)
                await self._wire.send("input_audio_buffer.cleared")
            case "conversation.item.create":
                item = self._items.create(event.get("item"), event.get("previous_item_id"))
                await self._wire.send_item(item)
            case "conversation.item.delete":
                item_id = self._items.delete(event.get("item_id"))
                await self._wire.send("conversation.item.deleted", item_id=item_id)
            case "conversation.item.truncate":
                cut = self._items.truncate(event.get("item_id"), event.get("audio_end_ms"))
                await self._wire.send("conversation.item.truncated", content_index=0, **cut)
            case "response.create":
                wanted = event.get("response")
                self._responses.start(self._session, wanted if isinstance(wanted, dict) else {})
            case "response.cancel":
                await self._responses.cancel(reason="client_cancelled")
            case other:
                raise errors.UsageError(f"Invalid value: {str(other)[:40]!r}", fix="invalid_value")

    async def _update(self, session: object) -> None:
        if not isinstance(session, dict):
            raise errors.UsageError("session is missing", fix="missing_required_parameter")
        merged = self._session.get("audio", {}), session.get("audio")
        self._session |= session
        if isinstance(merged[1], dict):
            self._session["audio"] = {
                side: {**merged[0].get(side, {}), **(merged[1].get(side) or {})}
                for side in ("input", "output")
            }
        await self._wire.send("session.updated", session=self._session)

    async def _hear(self, audio: object) -> None:
        try:
            pcm = base64.b64decode(audio if isinstance(audio, str) else "!", validate=True)
        except (binascii.Error, ValueError):
            raise errors.UsageError("Invalid audio", fix="invalid_value") from None
        for event in await asyncio.to_thread(self._utterances.feed, pcm):
            if self._turn_detection is not None:
                await self._notice(event, self._turn_detection)
            elif event.what is What.FINAL:
                self._uncommitted.append(event.text)

    @property
    def _turn_detection(self) -> dict[str, Any] | None:
        """Without it, the client itself says when a turn is over."""
        found = self._session.get("audio", {}).get("input", {}).get("turn_detection")
        return found if isinstance(found, dict) else None

    async def _notice(self, event: Event, detection: dict[str, Any]) -> None:
        if event.what is What.STARTED:
            self._spoken_item_id = f"item_{uuid.uuid4().hex[:20]}"
            await self._wire.send(
                "input_audio_buffer.speech_started",
                audio_start_ms=round(event.start_seconds * 1000),
                item_id=self._spoken_item_id,
            )
            if detection.get("interrupt_response") is not False:
                await self._responses.interrupt()
        elif event.what is What.FINAL:
            await self._wire.send(
                "input_audio_buffer.speech_stopped",
                audio_end_ms=round(event.end_seconds * 1000),
                item_id=self._spoken_item_id,
            )
            await self._note_turn(event.text)
            if detection.get("create_response") is not False:
                self._responses.start(self._session, {})

    async def _commit(self) -> None:
        if not (self._utterances.is_speech or self._uncommitted):
            raise errors.UsageError(
                "Error committing input audio buffer: buffer too small.",
                fix="input_audio_buffer_commit_empty",
            )
        self._spoken_item_id = f"item_{uuid.uuid4().hex[:20]}"
        event = await asyncio.to_thread(self._utterances.finish)
        texts, self._uncommitted = [*self._uncommitted, event.text], []
        await self._note_turn(" ".join(text for text in texts if text))

    async def _note_turn(self, text: str) -> None:
        """What the caller said becomes an item; its words are told where they were asked for."""
        item = self._items.add(message("user", text, item_id=self._spoken_item_id))
        await self._wire.send(
            "input_audio_buffer.committed", item_id=item.id, previous_item_id=item.previous_id
        )
        await self._wire.send_item(item)
        if self._session.get("audio", {}).get("input", {}).get("transcription"):
            await self._wire.send(
                "conversation.item.input_audio_transcription.completed",
                item_id=item.id,
                content_index=0,
                transcript=text,
                usage={"type": "duration", "seconds": self._utterances.seconds},
            )

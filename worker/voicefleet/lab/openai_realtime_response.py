"""What a realtime model says: one response at a time, as sound with its words, or as tool calls."""

import asyncio
import base64
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from voicefleet import errors
from voicefleet.lab import reception, script, speech
from voicefleet.lab.behaviour import Fault
from voicefleet.lab.conversation import ToolCall
from voicefleet.lab.reception import DESK, Desk
from voicefleet.lab.speech import Speech

PROVIDER = "openai-realtime"
# Of audio/pcm, 16 bits and mono: https://platform.openai.com/docs/guides/realtime-conversations
SAMPLE_RATE = 24_000


class Wire:
    """Belongs to one connection. After a hang-up what is sent goes nowhere, as on a network."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, fault: Fault) -> None:
        self.socket, self.fault = socket, fault
        self._request = request

    @property
    def desk(self) -> Desk:
        return self._request.app[DESK]

    async def send(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": f"event_{uuid.uuid4().hex[:20]}", **fields}
        if not self.socket.closed:
            try:
                await self.socket.send_str(json.dumps(event))
            except ConnectionError:
                return  # the client has gone: the connection's receiver sees it

    async def send_item(self, item: "Item") -> None:
        document = {**item.document, "object": "realtime.item"}
        await self.send("conversation.item.added", item=document, previous_item_id=item.previous_id)
        await self.send("conversation.item.done", item=document, previous_item_id=item.previous_id)

    async def refuse(self, event_id: str, problem: str, *, code: str = "invalid_value") -> None:
        error = {
            "type": "invalid_request_error",
            "code": code,
            "message": problem,
            "param": None,
            "event_id": event_id or None,
        }
        await self.send("error", error=error)

    def hang_up(self) -> None:
        reception.hang_up(self._request)


KINDS = ("message", "function_call", "function_call_output")


@dataclass(slots=True)
class Item:
    """`document` is the item as it travels; `text` what was said in it, for `seconds` of sound."""

    document: dict[str, Any]
    text: str = ""
    seconds: float = 0.0
    previous_id: str | None = None

    @property
    def id(self) -> str:
        return str(self.document["id"])


def message(role: str, text: str, *, item_id: str = "", status: str = "completed") -> Item:
    """Sound in a message has no text: its words travel as transcripts."""
    part = {"type": "input_audio" if role == "user" else "output_audio", "transcript": None}
    document = {
        "id": item_id or f"item_{uuid.uuid4().hex[:20]}",
        "type": "message",
        "status": status,
        "role": role,
        "content": [part] if status == "completed" else [],
    }
    return Item(document, text)


class Items:
    """The items of one connection; a new connection remembers nothing."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    def add(self, item: "Item") -> Item:
        """At the end."""
        item.previous_id = self._items[-1].id if self._items else None
        self._items.append(item)
        return item

    def create(self, document: object, previous_id: object) -> Item:
        """What the client adds: after another, before all ("root"), or at the end.

        :raises UsageError: if OpenAI would refuse it too; its fix is OpenAI's code.
        """
        if not isinstance(document, dict) or document.get("type") not in KINDS:
            raise errors.UsageError("Invalid item", fix="invalid_value")
        document = {"id": f"item_{uuid.uuid4().hex[:20]}", "status": "completed", **document}
        if self._place(document["id"]) is not None:
            raise errors.UsageError("The item exists already", fix="item_create_duplicate_item_id")
        item = Item(document, script.text_of(document))
        if previous_id is None or not self._items:
            return self.add(item)
        place = -1 if previous_id == "root" else self._place(previous_id)
        if place is None:
            raise errors.UsageError("The item before it is unknown", fix="item_not_found")
        self._items.insert(place + 1, item)
        item.previous_id = self._items[place].id if place >= 0 else None
        return item

    def delete(self, item_id: object) -> str:
        """:raises UsageError: if there is no such item."""
        del self._items[self._required_place(item_id)]
        return str(item_id)

    def truncate(self, item_id: object, audio_end_ms: object) -> dict[str, Any]:
        """Forget what was not heard of an answer: words after this many milliseconds of its sound.

        :raises UsageError: if there is no such item, or it is not that long.
        """
        item = self._items[self._required_place(item_id)]
        if type(audio_end_ms) is not int or not 0 <= audio_end_ms <= item.seconds * 1000 + 1:
            raise errors.UsageError("Audio content is shorter than that", fix="invalid_value")
        words = item.text.split()
        heard = round(len(words) * audio_end_ms / 1000 / item.seconds) if item.seconds else 0
        item.text = " ".join(words[:heard])
        return {"item_id": item.id, "audio_end_ms": audio_end_ms}

    def as_messages(self) -> list[dict[str, Any]]:
        """The same as a chat, which the script goes by."""
        return [_as_message(item) for item in self._items]

    def _required_place(self, item_id: object) -> int:
        place = self._place(item_id)
        if place is None:
            raise errors.UsageError(
                f"the item {str(item_id)[:40]!r} does not exist", fix="item_not_found"
            )
        return place

    def _place(self, item_id: object) -> int | None:
        return next((n for n, item in enumerate(self._items) if item.id == item_id), None)


def _as_message(item: "Item") -> dict[str, Any]:
    match item.document["type"]:
        case "function_call":
            function = {"name": item.document.get("name")}
            return {"role": "assistant", "content": None, "tool_calls": [{"function": function}]}
        case "function_call_output":
            return {"role": "tool", "content": item.document.get("output")}
        case _:
            return {"role": str(item.document.get("role")), "content": item.text}


# Sound comes in pieces, about four times as fast as it is heard.
PIECE_SECONDS, PIECE_EVERY_SECONDS = 0.2, 0.05


@dataclass(slots=True)
class Response:
    """`output` are its finished items."""

    metadata: Any = None
    id: str = field(default_factory=lambda: f"resp_{uuid.uuid4().hex[:20]}")
    output: list[dict[str, Any]] = field(default_factory=list)
    output_tokens: int = 0

    def document(self, status: str, reason: str = "") -> dict[str, Any]:
        details = {"type": status, "reason": reason} if reason else None
        used = {"input_tokens": 100, "output_tokens": self.output_tokens}
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": self.output,
            "metadata": self.metadata,
            "usage": {**used, "total_tokens": sum(used.values())}
            if status != "in_progress"
            else None,
        }


class Responses:
    """The responses of one connection, spoken by a task of its group."""

    def __init__(self, wire: Wire, items: Items, tasks: asyncio.TaskGroup) -> None:
        self._wire, self._items, self._tasks = wire, items, tasks
        self._active: tuple[Response, asyncio.Task[None]] | None = None

    def start(self, session: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Answer what was said. `wanted` may bring tools and choices of its own.

        :raises UsageError: if a response is being spoken.
        """
        if self._active is not None:
            raise errors.UsageError(
                "Conversation already has an active response",
                fix="conversation_already_has_active_response",
            )
        choice = wanted.get("tool_choice") or session.get("tool_choice")
        tools = wanted.get("tools") or session.get("tools")
        offered = _names(tools) if choice != "none" else frozenset[str]()
        response = Response(wanted.get("metadata"))
        speaking = self._answer(response, offered)
        self._active = response, self._tasks.create_task(speaking, name=f"realtime {response.id}")

    async def cancel(self, *, reason: str) -> None:
        """:raises UsageError: if nothing is being spoken."""
        if self._active is None:
            raise errors.UsageError(
                "Cancellation failed: no active response found", fix="response_cancel_not_active"
            )
        response, task = self._active
        self._active = None
        task.cancel()
        await self._wire.send("response.done", response=response.document("cancelled", reason))

    async def interrupt(self) -> None:
        """The caller speaks."""
        if self._active is not None:
            await self.cancel(reason="turn_detected")

    def stop(self) -> None:
        if self._active is not None:
            self._active[1].cancel()

    async def _answer(self, response: Response, offered: frozenset[str]) -> None:
        desk = self._wire.desk
        record = desk.behaviours.note(PROVIDER, "response")
        reply = script.reply(desk.conversation, self._items.as_messages(), offered)
        record.note = reply.note
        await self._wire.send("response.created", response=response.document("in_progress"))
        await record.delay(desk.behaviours.latency_seconds(PROVIDER))
        for tool in reply.tools:
            await self._call(response, tool)
        if not reply.tools:
            said = await asyncio.to_thread(speech.synthesize, reply.text, sample_rate=SAMPLE_RATE)
            record.answer()
            await self._speak(response, reply.text, said)
        self._active = None
        await self._wire.send("response.done", response=response.document("completed"))

    async def _call(self, response: Response, tool: ToolCall) -> None:
        arguments = json.dumps(tool.arguments)
        document = {
            "id": f"item_{uuid.uuid4().hex[:20]}",
            "type": "function_call",
            "status": "in_progress",
            "call_id": f"call_{uuid.uuid4().hex[:16]}",
            "name": tool.name,
            "arguments": "",
        }
        item = await self._begin(response, Item(document))
        place = {"item_id": item.id, "call_id": document["call_id"]}
        await self._tell(
            response, "response.function_call_arguments.delta", delta=arguments, **place
        )
        item.document |= {"arguments": arguments, "status": "completed"}
        await self._finish(response, item)

    async def _speak(self, response: Response, text: str, said: Speech) -> None:
        item = await self._begin(response, message("assistant", "", status="in_progress"))
        item.seconds = said.duration_seconds
        place = {"item_id": item.id, "content_index": 0}
        part = {"type": "audio", "transcript": ""}
        await self._tell(response, "response.content_part.added", part=part, **place)
        pieces = _pieces(text, said)
        end = len(pieces) // 2 if self._wire.fault is Fault.CUT else len(pieces)
        for sound, words in pieces[:end]:
            if words:
                item.text += words
                kind = "response.output_audio_transcript.delta"
                await self._tell(response, kind, delta=words, **place)
            delta = base64.b64encode(sound).decode()
            await self._tell(response, "response.output_audio.delta", delta=delta, **place)
            response.output_tokens += 2
            await asyncio.sleep(PIECE_EVERY_SECONDS)
        if self._wire.fault is Fault.CUT:
            self._wire.hang_up()
            return
        await self._tell(response, "response.output_audio.done", **place)
        await self._tell(
            response, "response.output_audio_transcript.done", transcript=text, **place
        )
        item.document |= {"status": "completed"}
        await self._finish(response, item)

    async def _begin(self, response: Response, item: "Item") -> Item:
        document = dict(item.document)
        await self._tell(response, "response.output_item.added", item=document)
        self._items.add(item)
        await self._wire.send(
            "conversation.item.added", item=document, previous_item_id=item.previous_id
        )
        return item

    async def _finish(self, response: Response, item: "Item") -> None:
        response.output.append(item.document)
        await self._tell(response, "response.output_item.done", item=item.document)

    async def _tell(self, response: Response, kind: str, **fields: Any) -> None:
        place = {"response_id": response.id, "output_index": len(response.output)}
        await self._wire.send(kind, **place, **fields)


def _pieces(text: str, said: Speech) -> list[tuple[bytes, str]]:
    """The sound, cut, each piece with its share of the words."""
    step = int(PIECE_SECONDS * SAMPLE_RATE) * 2
    count = max(1, -(-len(said.pcm) // step))
    words = [f" {word}" if number else word for number, word in enumerate(text.split())]
    shares = [-(-len(words) * number // count) for number in range(count + 1)]
    return [
        (said.pcm[n * step : (n + 1) * step], "".join(words[shares[n] : shares[n + 1]]))
        for n in range(count)
    ]


def _names(tools: object) -> frozenset[str]:
    listed = tools if isinstance(tools, list) else []
    return frozenset(str(tool.get("name")) for tool in listed if isinstance(tool, dict))

"""One realtime connection's way out: events with their ids, errors, and the sound of an end."""

import json
import uuid
from typing import Any

from aiohttp import web

from worker.lab import reception
from worker.lab.behaviour import Fault
from worker.lab.openai_realtime_items import Item
from worker.lab.reception import DESK, Desk

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

    async def send_item(self, item: Item) -> None:
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

"""What a realtime model remembers of a conversation: items in their order, which the client may add
to, cut short and delete.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from worker import errors
from worker.lab import script

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

    def add(self, item: Item) -> Item:
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


def _as_message(item: Item) -> dict[str, Any]:
    match item.document["type"]:
        case "function_call":
            function = {"name": item.document.get("name")}
            return {"role": "assistant", "content": None, "tool_calls": [{"function": function}]}
        case "function_call_output":
            return {"role": "tool", "content": item.document.get("output")}
        case _:
            return {"role": str(item.document.get("role")), "content": item.text}

"""What a job that goes on with a call is told of it, as LiveKit's own types."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from livekit.agents.llm import ChatContext, ChatItem, FunctionCall, FunctionCallOutput

from voicefleet.telemetry.messages import Kept, KeptKind

logger = logging.getLogger(__name__)

T = TypeVar("T")

UNKNOWN_RESULT = (
    "The result is unknown: the line was cut while this was being done. Check whether it has been"
    " done before doing it again."
)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the pod has told of the conversation before, `seconds` after the death of the job that
    had it.
    """

    pieces: tuple[Kept, ...]
    seconds: float
    is_last: bool = False

    def one(self, kind: KeptKind) -> Any:
        """The piece of a kind of which there is one, None without it."""
        found = [piece for piece in self.pieces if piece.kind == kind]
        return _read(found[-1], json.loads) if found else None

    def history(self) -> ChatContext:
        """What was said and done, in order; a tool that has no result says so."""
        items = {p.key: _read(p, _items) or [] for p in self.pieces if p.kind == "item"}
        history = ChatContext([item for some in items.values() for item in some])
        for piece in self.pieces:
            if piece.kind == "tool":
                history.insert(_read(piece, _half_done) or [])
        return history


def _read(piece: Kept, read: Callable[[str], T]) -> T | None:
    """What the piece says; None where it cannot be read. Its text is the caller's: not logged."""
    try:
        return read(piece.data)
    except Exception as error:
        fields = {"kind": piece.kind, "error": type(error).__name__}
        logger.warning("a piece of the conversation cannot be read", extra=fields)
        return None


def _items(data: str) -> list[ChatItem]:
    return ChatContext.from_dict({"items": [json.loads(data)]}).items


def _half_done(data: str) -> list[ChatItem]:
    told = json.loads(data)
    call = FunctionCall.model_validate(told["call"])
    output = told.get("output", UNKNOWN_RESULT)
    is_error = "output" not in told
    return [
        call,
        FunctionCallOutput(
            call_id=call.call_id,
            name=call.name,
            output=output,
            is_error=is_error,
            created_at=call.created_at + 0.001,
        ),
    ]

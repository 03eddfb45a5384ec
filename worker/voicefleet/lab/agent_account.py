"""The agent's own account of a call: what it heard, which tools it called, what it said, how long
each leg took.

It comes over LiveKit's public `RemoteSession`, which every agent with an `AgentSession` serves
unless told not to; where it does not, the `lk.transcription` text streams tell at least the words.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from livekit import rtc
from livekit.agents.types import ATTRIBUTE_TRANSCRIPTION_FINAL, TOPIC_TRANSCRIPTION
from livekit.agents.voice import RemoteSession
from livekit.protocol.agent_pb import agent_session as protocol

from voicefleet.lab.changes import Changes

LEGS = (
    "transcription_delay",
    "end_of_turn_delay",
    "on_user_turn_completed_delay",
    "llm_node_ttft",
    "tts_node_ttfb",
    "e2e_latency",
)
BUSY_STATES = (protocol.AS_THINKING, protocol.AS_SPEAKING)

# LiveKit sends an error as its words (1.8.9, voice/remote_session.py).
NOT_TRIED_AGAIN = "recoverable=False"


class RecordKind(StrEnum):
    SILENCE = "silence"
    HEARD = "heard"
    SAID = "said"
    TOOL = "tool"
    LEGS = "legs"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that the agent told. `at` is when it was received, in the event loop's time."""

    at: float
    kind: RecordKind
    text: str = ""
    was_interrupted: bool = False
    legs_seconds: dict[str, float] = field(default_factory=dict)


class AgentAccount:
    """Collects the records while the block lasts; `on_record` is told of each as it comes."""

    def __init__(self, room: rtc.Room, changes: Changes) -> None:
        self.on_record: Callable[[Record], None] = lambda _: None
        self._room = room
        self._changes = changes
        self._session_records: list[Record] = []
        self._stream_records: list[Record] = []
        self._state: int | None = None
        self.broke_off_at: float | None = None
        """When the agent was back after it had gone in the middle of an answer; the last time."""
        self._reading: set[asyncio.Task[None]] = set()
        # Without an identity it takes messages from everybody, so that none is lost between the
        # agent's first message and our notice that it is here. Nobody else is in the room.
        self._session = RemoteSession.from_room(room, "")

    @property
    def records(self) -> tuple[Record, ...]:
        return tuple(self._session_records or self._stream_records)

    @property
    def errors(self) -> tuple[str, ...]:
        return tuple(r.text for r in self.records if r.kind is RecordKind.ERROR)

    @property
    def has_failed(self) -> bool:
        """Whether a provider failed for good since the agent last said something."""
        for record in reversed(self.records):
            if record.kind is RecordKind.SAID:
                return False
            if record.kind is RecordKind.ERROR and NOT_TRIED_AGAIN in record.text:
                return True
        return False

    @property
    def is_busy(self) -> bool | None:
        """Whether the agent is thinking or speaking; None if it does not tell."""
        return None if self._state is None else self._state in BUSY_STATES

    def said_since(self, at: float) -> str:
        said = (r.text for r in self.records if r.kind is RecordKind.SAID and r.at >= at)
        return " ".join(said)

    def heard_since(self, at: float) -> str:
        heard = (r.text for r in self.records if r.kind is RecordKind.HEARD and r.at >= at)
        return " ".join(heard)

    async def __aenter__(self) -> Self:
        self._session.on("agent_state_changed", self._on_state)
        self._session.on("user_state_changed", self._on_user_state)
        self._session.on("user_input_transcribed", self._on_transcribed)
        self._session.on("function_tools_executed", self._on_tools)
        self._session.on("conversation_item_added", self._on_item)
        self._session.on("error", self._on_error)
        await self._session.start()
        self._room.register_text_stream_handler(TOPIC_TRANSCRIPTION, self._on_text_stream)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._room.unregister_text_stream_handler(TOPIC_TRANSCRIPTION)
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        await self._session.aclose()

    def _on_state(self, event: protocol.AgentSessionEvent) -> None:
        changed = event.agent_state_changed
        if self.is_busy and changed.old_state == protocol.AS_INITIALIZING:
            self.broke_off_at = asyncio.get_running_loop().time()
        self._state = changed.new_state
        self._changes.announce()

    def _on_user_state(self, event: protocol.AgentSessionEvent) -> None:
        if event.user_state_changed.new_state == protocol.US_LISTENING:
            self._record(RecordKind.SILENCE)

    def _on_transcribed(self, event: protocol.AgentSessionEvent) -> None:
        if event.user_input_transcribed.is_final:
            self._record(RecordKind.HEARD, event.user_input_transcribed.transcript)

    def _on_tools(self, event: protocol.AgentSessionEvent) -> None:
        for call in event.function_tools_executed.function_calls:
            self._record(RecordKind.TOOL, call.name)

    def _on_error(self, event: protocol.AgentSessionEvent) -> None:
        self._record(RecordKind.ERROR, event.error.message)

    def _on_item(self, event: protocol.AgentSessionEvent) -> None:
        message = event.conversation_item_added.item.message
        legs = {
            name: float(getattr(message.metrics, name))
            for name in LEGS
            if message.metrics.HasField(name)
        }
        if message.role == protocol.ASSISTANT and message.content:
            text = " ".join(part.text for part in message.content)
            self._record(
                RecordKind.SAID, text, was_interrupted=message.interrupted, legs_seconds=legs
            )
        elif message.role == protocol.USER and legs:
            self._record(RecordKind.LEGS, legs_seconds=legs)

    def _record(self, kind: RecordKind, text: str = "", **more: Any) -> None:
        record = Record(asyncio.get_running_loop().time(), kind, text, **more)
        self._session_records.append(record)
        self.on_record(record)
        self._changes.announce()

    def _on_text_stream(self, reader: rtc.TextStreamReader, identity: str) -> None:
        task = asyncio.create_task(self._read(reader, identity), name="caller-transcription")
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read(self, reader: rtc.TextStreamReader, identity: str) -> None:
        """The agent's words come in one stream an answer; the caller's in one for each guess, and
        only the last is final.
        """
        try:
            text = await reader.read_all()
        except rtc.StreamError:
            return
        is_callers = identity == self._room.local_participant.identity
        attributes = reader.info.attributes or {}
        if is_callers and attributes.get(ATTRIBUTE_TRANSCRIPTION_FINAL) != "true":
            return
        kind = RecordKind.HEARD if is_callers else RecordKind.SAID
        record = Record(asyncio.get_running_loop().time(), kind, text)
        self._stream_records.append(record)
        if self._state is None:
            self.on_record(record)
        self._changes.announce()

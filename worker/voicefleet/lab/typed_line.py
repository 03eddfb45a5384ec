"""The terminal's end of LiveKit's console: the agent's process connects to it, and a caller types.

LiveKit leaves this end to its `lk` program. Each message is an `AgentSessionMessage` behind its
length in four bytes (livekit-agents 1.8.9, voice/remote_session.py and cli/tcp_console.py).
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from google.protobuf.message import DecodeError
from livekit.agents.voice import RemoteSession
from livekit.agents.voice.remote_session import SessionTransport
from livekit.protocol.agent_pb import agent_session as protocol

HOST = "127.0.0.1"
LENGTH = struct.Struct(">I")
READY_WITHIN_SECONDS = 10.0
ANSWER_WITHIN_SECONDS = 120.0
# An agent that does not greet is spoken to after this.
GREETING_WITHIN_SECONDS = 3.0

Tell = Callable[[str, str], None]
"""Told of what happens: who or what it was, and the words."""


class TypedLine:
    """A call in text with the agent at the other end of a connection."""

    def __init__(self, wire: "_Wire", tell: Tell) -> None:
        self._wire, self._tell = wire, tell
        self._session = RemoteSession(wire)
        self._has_spoken = asyncio.Event()
        self._session.on("conversation_item_added", self._on_item)
        self._session.on("function_tools_executed", self._on_tools)
        self._session.on("error", self._on_error)

    @property
    def cut(self) -> asyncio.Event:
        """Set when the agent has ended the call."""
        return self._wire.cut

    async def open(self) -> None:
        """Wait for the agent and its greeting, and have it write from then on where it would speak.

        :raises TimeoutError: if there is no session.
        :raises RuntimeError: if the agent has gone.
        """
        await self._session.start()
        await self._session.wait_for_ready(READY_WITHIN_SECONDS)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._has_spoken.wait(), GREETING_WITHIN_SECONDS)
        await self._session.update_io(input_audio_enabled=False, output_audio_enabled=False)

    async def say(self, text: str) -> None:
        """Say something, and wait until the agent has answered; it may end the call instead."""
        try:
            await self._session.run(text, timeout=ANSWER_WITHIN_SECONDS)
        except (RuntimeError, TimeoutError) as error:
            if not self.cut.is_set():
                self._tell("error", str(error) or "there was no answer")

    async def aclose(self) -> None:
        await self._session.aclose()

    def _on_item(self, event: protocol.AgentSessionEvent) -> None:
        item = event.conversation_item_added.item
        if item.HasField("agent_handoff"):
            if item.agent_handoff.old_agent_id:
                self._tell("handover", f"to {item.agent_handoff.new_agent_id}")
        elif item.message.role == protocol.ASSISTANT:
            self._has_spoken.set()
            self._tell("agent", " ".join(part.text for part in item.message.content))

    def _on_tools(self, event: protocol.AgentSessionEvent) -> None:
        executed = event.function_tools_executed
        outputs = {output.call_id: output for output in executed.function_call_outputs}
        for call in executed.function_calls:
            output = outputs.get(call.call_id)
            answered = f" → {output.output}" if output and output.output else ""
            is_refused = bool(output and output.is_error)
            self._tell(
                "refused" if is_refused else "tool", f"{call.name} {call.arguments}{answered}"
            )

    def _on_error(self, event: protocol.AgentSessionEvent) -> None:
        # What is typed and read needs no ears and no voice, whatever the file gave its session.
        if not any(kind in event.error.message for kind in ("'stt_error'", "'tts_error'")):
            self._tell("error", event.error.message)


class _Wire(SessionTransport):
    """Its messages over a connection that the agent has opened."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.cut = asyncio.Event()

    async def start(self) -> None:
        # What it said before it was connected waits to have been heard.
        await self._heard()

    async def send_message(self, msg: protocol.AgentSessionMessage) -> None:
        data = msg.SerializeToString()
        self._writer.write(LENGTH.pack(len(data)) + data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def __aiter__(self) -> AsyncIterator[protocol.AgentSessionMessage]:
        return self

    async def __anext__(self) -> protocol.AgentSessionMessage:
        try:
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            message = protocol.AgentSessionMessage.FromString(
                await self._reader.readexactly(length)
            )
        except (asyncio.IncompleteReadError, OSError, DecodeError):
            self.cut.set()
            raise StopAsyncIteration from None
        if message.HasField("audio_playback_flush"):
            await self._heard()
        return message

    async def _heard(self) -> None:
        """Nobody listens here, so every sound has been heard at once."""
        finished = protocol.AgentSessionMessage.ConsoleIO.AudioPlaybackFinished()
        await self.send_message(protocol.AgentSessionMessage(audio_playback_finished=finished))


class Door:
    """Where an agent is to connect."""

    def __init__(self, port: int, wires: "asyncio.Queue[_Wire]") -> None:
        self.arguments = ("--connect-addr", f"{HOST}:{port}")
        """What LiveKit's console is to be given."""
        self._wires = wires

    async def answered(self, tell: Tell) -> TypedLine:
        """The line to the agent that connects next."""
        return TypedLine(await self._wires.get(), tell)


@asynccontextmanager
async def listening() -> AsyncIterator[Door]:
    """A door on a free port of this machine."""
    wires: asyncio.Queue[_Wire] = asyncio.Queue()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wires.put_nowait(_Wire(reader, writer))

    server = await asyncio.start_server(connected, HOST, 0)
    try:
        yield Door(server.sockets[0].getsockname()[1], wires)
    finally:
        server.close()
        await server.wait_closed()

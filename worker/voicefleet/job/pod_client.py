"""The job's connection to its pod: facts go up, orders come down, one JSON object a line.

What the kernel has taken arrives even if this process is killed.
"""

import asyncio
import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic import ValidationError

from voicefleet.conversation.remembered import Remembered
from voicefleet.telemetry import messages
from voicefleet.telemetry.messages import (
    CallEnded,
    CallEnding,
    CallStarted,
    EndCall,
    Fact,
    Kept,
    Order,
    PrewarmFailed,
    Proceed,
    Resume,
    Warm,
    Warming,
)

logger = logging.getLogger(__name__)

# Where prewarm leaves the client for the entrypoint, in `JobProcess.userdata`.
POD_CLIENT = "voicefleet.pod_client"

# The pod answers in milliseconds; one that does not is no reason to keep a caller waiting.
ANSWER_WITHIN_SECONDS = 2.0

# How long the end of a call waits for a pod that reads slowly.
FLUSH_WITHIN_SECONDS = 2.0

# Kept for a pod that reads slowly, beyond what the kernel keeps; a fact that does not fit is
# dropped.
LONGEST_BACKLOG_BYTES = 256 * 1024

# The part of the backlog that only these facts may fill, because the pod counts calls and slots by
# them. The longest is an error of 4096 characters, each of up to six bytes in JSON.
RESERVED_BYTES = 32 * 1024
CONTROL_FACTS = (Warming, Warm, PrewarmFailed, CallStarted, CallEnding, CallEnded)


class PodClient:
    """Send from any thread; the coroutines belong to the job's event loop. A pod that is gone is
    no error: LiveKit then ends this process.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._backlog = bytearray()
        self._received = bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_backlog = asyncio.Event()
        self.dropped = 0

    def send(self, fact: Fact) -> None:
        """Tell the pod, without waiting; a fact for which there is no room is dropped, whole."""
        self.offer(fact)

    def offer(self, fact: Fact) -> bool:
        """As `send`; False if it was dropped, for who has it told again."""
        line = messages.line(fact)
        with self._lock:
            # Drain first: the pod may have made room since the last fact.
            self._drain()
            reserved_bytes = 0 if isinstance(fact, CONTROL_FACTS) else RESERVED_BYTES
            if len(self._backlog) + len(line) > LONGEST_BACKLOG_BYTES - reserved_bytes:
                self.dropped += 1
                return False
            self._backlog += line
            self._drain()
            has_backlog, loop = bool(self._backlog), self._loop
        if has_backlog and loop is not None:
            # Closed already: `flush_at_exit` delivers it.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._has_backlog.set)
        return True

    async def deliver(self) -> None:
        """Send the backlog whenever the pod reads again, without waiting for the next fact; until
        cancelled.
        """
        self._loop = asyncio.get_running_loop()
        self._has_backlog.set()
        try:
            while True:
                await self._has_backlog.wait()
                self._has_backlog.clear()
                await self._deliver_backlog()
        finally:
            self._loop = None

    async def flush(self, within_seconds: float = FLUSH_WITHIN_SECONDS) -> None:
        """Wait until the pod has everything, but not for longer than this. Not while `deliver`
        runs: the event loop knows one writer for each socket.
        """
        try:
            async with asyncio.timeout(within_seconds):
                await self._deliver_backlog()
        except TimeoutError:
            logger.warning("the pod does not read", extra={"bytes": len(self._backlog)})

    def begin(self) -> None:
        """Say that this process is about to load its models, and wait as long as the pod says."""
        self.send(Warming(pid=os.getpid()))
        order = None
        while order is None:
            readable, _, _ = select.select([self._connection], [], [], ANSWER_WITHIN_SECONDS)
            if not readable or not self._receive():
                return
            order = self._next()
        if isinstance(order, Proceed):
            time.sleep(order.after_seconds)

    async def conversation(self) -> Remembered:
        """What was said before, where this job goes on with a call; nothing if the pod does not say
        it in time.
        """
        pieces = list[Kept]()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                async for order in self._orders():
                    match order:
                        case Kept():
                            pieces.append(order)
                        case Resume(seconds=seconds, is_last=is_last):
                            return Remembered(tuple(pieces), seconds, is_last)
        logger.warning("the pod has not told what was said before")
        return Remembered((), ANSWER_WITHIN_SECONDS)

    async def orders(self) -> AsyncIterator[EndCall]:
        """What the pod orders of the call, until the pod is gone."""
        async for order in self._orders():
            if isinstance(order, EndCall):
                yield order

    async def _orders(self) -> AsyncIterator[Order]:
        loop = asyncio.get_running_loop()
        while True:
            while (order := self._next()) is not None:
                yield order
            try:
                received = await loop.sock_recv(self._connection, 4096)
            except OSError:
                return
            if not received:
                return
            self._received += received

    def flush_at_exit(self) -> None:
        """As `flush`, when no event loop is left: it blocks this thread."""
        deadline = time.monotonic() + FLUSH_WITHIN_SECONDS
        while not self._is_drained() and time.monotonic() < deadline:
            select.select([], [self._connection], [], max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        self._connection.close()

    def _is_drained(self) -> bool:
        with self._lock:
            self._drain()
            return not self._backlog

    def _drain(self) -> None:
        """Hand the kernel what it takes. The caller holds the lock."""
        try:
            while self._backlog:
                sent = self._connection.send(self._backlog)
                del self._backlog[:sent]
        except BlockingIOError:
            return
        except OSError:
            self._backlog.clear()  # The pod is gone.

    async def _deliver_backlog(self) -> None:
        while not self._is_drained():
            await self._until_writable()

    async def _until_writable(self) -> None:
        loop = asyncio.get_running_loop()
        writable = asyncio.Event()
        loop.add_writer(self._connection, writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(self._connection)

    def _receive(self) -> bool:
        try:
            received = self._connection.recv(4096)
        except OSError:
            return False
        self._received += received
        return bool(received)

    def _next(self) -> Order | None:
        """The next whole order that has been received; what is no order is logged and skipped."""
        while b"\n" in self._received:
            line, _, rest = self._received.partition(b"\n")
            self._received = rest
            try:
                return messages.ORDER.validate_json(line)
            except ValidationError:
                logger.warning("order not understood", extra={"bytes": len(line)})
        return None


def connect(path: Path) -> PodClient | None:
    """The connection to the pod that listens here; None, and a warning, if there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(ANSWER_WITHIN_SECONDS)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        logger.warning("no connection to the pod", extra={"error": str(error)})
        return None
    connection.setblocking(False)
    return PodClient(connection)

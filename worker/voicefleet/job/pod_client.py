"""The job's end of the line to its pod: facts go up, orders come down.

What was sent is in the kernel's buffer at once, so it arrives even if this process is killed.
"""

import asyncio
import logging
import os
import select
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic import ValidationError

from voicefleet.telemetry import messages
from voicefleet.telemetry.messages import EndCall, Fact, Order, Proceed, Warming

logger = logging.getLogger(__name__)

# Where prewarm leaves the line for the entrypoint, in `JobProcess.userdata`.
POD_CLIENT = "voicefleet.pod_client"

# The pod answers in milliseconds; one that does not is no reason to keep a caller waiting.
ANSWER_WITHIN_SECONDS = 2.0

# Kept for a pod that reads slowly, behind what the kernel keeps; beyond, facts are dropped.
LONGEST_BACKLOG_BYTES = 256 * 1024


class PodClient:
    """Send from any thread; read orders on the event loop. Never raises for a pod that is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._backlog = bytearray()
        self._received = bytearray()
        self.dropped = 0

    def send(self, fact: Fact) -> None:
        """Tell the pod, without waiting; a fact for which there is no room is dropped, whole."""
        line = messages.line(fact)
        with self._lock:
            if len(self._backlog) + len(line) > LONGEST_BACKLOG_BYTES:
                self.dropped += 1
                return
            self._backlog += line
            try:
                while self._backlog:
                    sent = self._connection.send(self._backlog)
                    del self._backlog[:sent]
            except BlockingIOError:
                return
            except OSError:
                # The pod is gone, and LiveKit is about to end this process.
                self._backlog.clear()

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

    async def orders(self) -> AsyncIterator[EndCall]:
        """What the pod orders of the call, until the pod is gone."""
        loop = asyncio.get_running_loop()
        while True:
            while (order := self._next()) is not None:
                if isinstance(order, EndCall):
                    yield order
            try:
                received = await loop.sock_recv(self._connection, 4096)
            except OSError:
                return
            if not received:
                return
            self._received += received

    def close(self) -> None:
        self._connection.close()

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
    """The line to the pod that listens here; None, and a warning, if there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(ANSWER_WITHIN_SECONDS)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        logger.warning("no line to the pod", extra={"error": str(error)})
        return None
    connection.setblocking(False)
    return PodClient(connection)

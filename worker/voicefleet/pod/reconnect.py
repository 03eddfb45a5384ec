"""How the pod comes back to a LiveKit that it has lost: with growing pauses, and not for ever.

LiveKit's own loop (livekit-agents 1.8.9, worker.py, _connection_task) forgets its failures as soon
as a socket opens. A server that opens it and then fails the registration is asked again at once,
hundreds of times a second, and never given up; one that opens it and says nothing is waited for
without end. So each attempt to open one goes through here.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from voicefleet.backoff import Backoff

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
# A connection that held for so long was a good one: the next pause is a first one again.
STABLE_SECONDS = 30.0
# The answer to a registration comes in milliseconds.
REGISTERED_WITHIN_SECONDS = 15.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Reconnect:
    """Belongs to the parent's event loop. `refused` counts the attempts since LiveKit last took the
    pod; after more than `most_refused` the pod gives up.
    """

    most_refused: int
    pauses: Backoff = field(
        default_factory=lambda: Backoff(
            FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, jitter_ratio=0.5
        )
    )
    clock: Callable[[], float] = time.monotonic
    refused: int = 0
    registered_at: float | None = None
    given_up: asyncio.Event = field(default_factory=asyncio.Event)
    _is_first: bool = True
    _patience: asyncio.TimerHandle | None = None
    _hanging_up: asyncio.Task[Any] | None = None

    @property
    def is_connected(self) -> bool:
        return self.registered_at is not None

    def registered(self) -> None:
        """LiveKit has taken the pod."""
        self._wait_no_longer()
        self.registered_at, self.refused = self.clock(), 0

    async def before_attempt(self) -> None:
        """Wait as long as is due; after the last attempt, say so and wait for the end."""
        self._wait_no_longer()
        if self.registered_at is not None:
            if self.clock() - self.registered_at >= STABLE_SECONDS:
                self.pauses.reset()
                self._is_first = True
            self.registered_at = None
        if self.refused > self.most_refused:
            self.given_up.set()
            await asyncio.Event().wait()
        if not self._is_first:
            await asyncio.sleep(self.pauses.next_seconds())
        self._is_first = False
        self.refused += 1

    def opened(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """A connection, on which LiveKit now has to take the pod, or it is closed."""
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(REGISTERED_WITHIN_SECONDS, self._hang_up, socket)

    def _hang_up(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        waited = {"waited_seconds": REGISTERED_WITHIN_SECONDS}
        logger.warning("connected, and not registered: connecting anew", extra=waited)
        self._hanging_up = asyncio.create_task(socket.close(), name="leave a mute LiveKit")

    def _wait_no_longer(self) -> None:
        if self._patience is not None:
            self._patience.cancel()


class PacedSession:
    """LiveKit's HTTP session, whose websockets open at the pace of `Reconnect`."""

    def __init__(self, session: aiohttp.ClientSession, pace: Reconnect) -> None:
        self._session, self._pace = session, pace

    async def ws_connect(self, *arguments: Any, **options: Any) -> Any:
        await self._pace.before_attempt()
        socket = await self._session.ws_connect(*arguments, **options)
        self._pace.opened(socket)
        return socket

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

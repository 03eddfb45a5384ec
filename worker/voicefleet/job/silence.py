"""When a call has been silent for too long."""

import asyncio
from functools import partial
from typing import Any

from livekit.agents import AgentSession, AgentStateChangedEvent, CloseEvent, UserStateChangedEvent

BUSY_AGENT_STATES = ("thinking", "speaking")


class Silence:
    """Whether anybody speaks in any session of a call; an agent that thinks is not silent."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._busy: set[tuple[AgentSession[Any], str]] = set()

    def listen(self, session: AgentSession[Any]) -> None:
        """From before its start, for as long as it runs."""
        self._changed.set()
        session.on("user_state_changed", partial(self._user_changed, session))
        session.on("agent_state_changed", partial(self._agent_changed, session))
        session.on("close", partial(self._closed, session))

    async def lasts(self, seconds: float) -> None:
        """Return when it has been silent for this long."""
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(None if self._busy else seconds):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _user_changed(self, session: AgentSession[Any], event: UserStateChangedEvent) -> None:
        self._is(session, "user", is_busy=event.new_state == "speaking")
        # LiveKit's word for a caller who has said nothing for a while is "away".
        if event.new_state != "away":
            self._changed.set()

    def _agent_changed(self, session: AgentSession[Any], event: AgentStateChangedEvent) -> None:
        self._is(session, "agent", is_busy=event.new_state in BUSY_AGENT_STATES)
        self._changed.set()

    def _closed(self, session: AgentSession[Any], _: CloseEvent) -> None:
        # LiveKit tells of no change of state then.
        self._is(session, "user", is_busy=False)
        self._is(session, "agent", is_busy=False)
        self._changed.set()

    def _is(self, session: AgentSession[Any], side: str, *, is_busy: bool) -> None:
        if is_busy:
            self._busy.add((session, side))
        else:
            self._busy.discard((session, side))

"""When a call has gone on for too long: its length, and how long nobody says anything."""

import asyncio
from typing import Any

from livekit.agents import AgentSession, AgentStateChangedEvent, UserStateChangedEvent

BUSY_AGENT_STATES = ("thinking", "speaking")


async def silence(session: AgentSession[Any], seconds: float) -> None:
    """Return when neither side has said anything for so long; a thinking agent is not silent."""
    changed = asyncio.Event()

    def on_user(event: UserStateChangedEvent) -> None:
        # LiveKit calls a caller who has been listening for a while "away".
        if event.new_state != "away":
            changed.set()

    def on_agent(_: AgentStateChangedEvent) -> None:
        changed.set()

    session.on("user_state_changed", on_user)
    session.on("agent_state_changed", on_agent)
    try:
        while True:
            changed.clear()
            is_busy = session.user_state == "speaking" or session.agent_state in BUSY_AGENT_STATES
            try:
                async with asyncio.timeout(None if is_busy else seconds):
                    await changed.wait()
            except TimeoutError:
                return
    finally:
        session.off("user_state_changed", on_user)
        session.off("agent_state_changed", on_agent)

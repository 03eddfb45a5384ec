"""What an agent does about a caller who says nothing: asks twice, then says goodbye and hangs up.

How long a silence is, is LiveKit's `user_away_timeout`; the timer is LiveKit's too, and ends with
the session.
"""

from typing import Any

from livekit.agents import (
    AgentSession,
    ConversationItemAddedEvent,
    UserStateChangedEvent,
    get_job_context,
)

from voicefleet.agents import closing

NUDGE = "Are you still there?"
FAREWELL = "I cannot hear you, so I will end the call here. Goodbye."
NUDGES_BEFORE_FAREWELL = 2


def watch(session: AgentSession[Any], *, nudge: str = NUDGE, farewell: str = FAREWELL) -> None:
    """Answer the silences of this session's caller, for as long as it runs."""
    silences = _Silences(session, nudge, farewell)
    session.on("user_state_changed", silences.on_user_state)
    session.on("conversation_item_added", silences.on_item)


class _Silences:
    """Counts silences in a row."""

    def __init__(self, session: AgentSession[Any], nudge: str, farewell: str) -> None:
        self._session, self._nudge, self._farewell = session, nudge, farewell
        self._in_a_row = 0

    def on_user_state(self, event: UserStateChangedEvent) -> None:
        if event.new_state != "away" or _is_typed():
            return
        self._in_a_row += 1
        if self._in_a_row > NUDGES_BEFORE_FAREWELL:
            self._session.say(self._farewell, allow_interruptions=False)
            closing.hang_up(self._session)
            return
        # LiveKit reports a silent caller once, so the next silence is counted from the nudge's end.
        nudged = self._session.say(self._nudge)
        nudged.add_done_callback(lambda _: self._session.reset_away_timer())

    def on_item(self, event: ConversationItemAddedEvent) -> None:
        if event.item.type == "message" and event.item.role == "user":
            self._in_a_row = 0


def _is_typed() -> bool:
    """In a console nobody is silent: they think, and type."""
    job = get_job_context(required=False)
    return job is not None and job.is_fake_job()

"""How a call ends: politely where the pod ends it, and in every case for a cause that is told."""

import asyncio
import contextlib
import logging
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext
from livekit.agents.types import ATTRIBUTE_PUBLISH_ON_BEHALF
from livekit.agents.voice.room_io.types import DEFAULT_CLOSE_ON_DISCONNECT_REASONS

from voicefleet.settings.pod import FAREWELL_WITHIN_SECONDS
from voicefleet.telemetry.messages import Cause

logger = logging.getLogger(__name__)

# The reasons that LiveKit gives a job (livekit-agents 1.8.9, ipc/job_proc_lazy_main.py): its room
# went away, the server ended it, its entrypoint raised. The first two race where a caller hangs up.
ROOM_WENT = ("room disconnected", "parent process shutdown")
# Beside it, LiveKit's word for a session that failed, from agents that end the job themselves.
FAILED = ("job crashed", CloseReason.ERROR.value)


# What was said last is still on its way to the caller, its sound and its text, when LiveKit has
# sent it; a room that goes at once takes it along.
LAST_WORD_SECONDS = 0.5

# Of the farewell's time, what is kept for the room: a voice that hangs is no reason to leave the
# caller in it.
HANG_UP_WITHIN_SECONDS = 2.0


class Ending:
    """Belongs to the job's event loop. `cause` is None until the pod ends the call."""

    def __init__(self, ctx: JobContext, farewell: str) -> None:
        self._ctx = ctx
        self._farewell = farewell
        self.cause: Cause | None = None
        self._closed_for: Cause | None = None
        self._is_alone = False

    async def politely(self, cause: Cause) -> None:
        """Say farewell if there is a session that can, hang up and end the job; once.

        Whatever fails on the way is logged, and the job ends all the same: a TTS that hangs keeps
        no call alive.
        """
        if self.cause is not None or self._closed_for is Cause.CALLER_LEFT:
            return
        self.cause = cause
        logger.warning("the pod ends the call", extra={"cause": cause.value})
        await self._say_farewell()
        await self._hang_up()
        self._ctx.shutdown(cause.value)

    async def _say_farewell(self) -> None:
        session = session_of(self._ctx)
        if not self._farewell or session is None or not _reaches_somebody(session):
            return
        try:
            async with asyncio.timeout(FAREWELL_WITHIN_SECONDS - HANG_UP_WITHIN_SECONDS):
                await session.interrupt(force=True)
                await session.say(self._farewell, allow_interruptions=False)
                await asyncio.sleep(LAST_WORD_SECONDS)
        except RuntimeError as error:
            # LiveKit's, of a session that has closed or has no voice.
            logger.info("no farewell was said", extra={"reason": str(error)})
        except Exception:
            logger.exception("the farewell was not said to its end")

    async def _hang_up(self) -> None:
        """Delete the room, unless others go on talking in it."""
        try:
            if talk_with_each_other(self._ctx.room):
                logger.info("the room is left to those who talk in it")
                return
            async with asyncio.timeout(HANG_UP_WITHIN_SECONDS):
                await self._ctx.delete_room()
        except Exception:
            logger.exception("the room could not be deleted")

    def somebody_left(self, participant: rtc.RemoteParticipant) -> bool:
        """A participant has left the room. True if that was the last one, and hung up: LiveKit then
        closes the session, unless the agent file has asked for another end.
        """
        self._is_alone = not self._ctx.room.remote_participants
        hung_up = participant.disconnect_reason in DEFAULT_CLOSE_ON_DISCONNECT_REASONS
        return self._is_alone and hung_up and _ends_with_its_caller(session_of(self._ctx))

    def session_starts(self) -> None:
        """One that takes the place of a session that failed; the call goes on."""
        self._closed_for = None

    def session_closed(self, event: CloseEvent) -> None:
        """The last session has closed. Its caller left, or it failed: that ends the call."""
        causes = {
            CloseReason.PARTICIPANT_DISCONNECTED: Cause.CALLER_LEFT,
            CloseReason.ERROR: Cause.ERROR,
        }
        self._closed_for = self._closed_for or causes.get(event.reason)

    def told(self, reason: str) -> Cause:
        """The cause of a job that now shuts down for LiveKit's `reason`."""
        self.cause = self.cause or self._closed_for or self._cause_of(reason)
        return self.cause

    def _cause_of(self, reason: str) -> Cause:
        if reason in ROOM_WENT:
            return Cause.CALLER_LEFT if self._is_alone else Cause.ROOM_CLOSED
        return Cause.ERROR if reason in FAILED else Cause.AGENT_LEFT


def session_of(ctx: JobContext) -> AgentSession[Any] | None:
    """The session of this call, if the agent file has started one."""
    with contextlib.suppress(RuntimeError):
        return ctx.primary_session
    return None


def _ends_with_its_caller(session: AgentSession[Any] | None) -> bool:
    """Whether LiveKit closes it where the caller hangs up; an agent file may have it wait for one
    who comes back.
    """
    if session is None:
        return False
    with contextlib.suppress(RuntimeError):
        return session.room_io._options.close_on_disconnect
    # Started without a room: LiveKit watches over no caller.
    return False


def talk_with_each_other(room: rtc.Room) -> bool:
    """Whether two others are in the room who can be heard: callers, colleagues, agents. A caller
    with a scribe, who is only ears, is alone; so is one with an avatar, which speaks on behalf of
    an agent. LiveKit tells of a new participant up to 3 s after it has joined.
    """
    heard = [
        who
        for who in room.remote_participants.values()
        if ATTRIBUTE_PUBLISH_ON_BEHALF not in who.attributes
        and any(t.kind == rtc.TrackKind.KIND_AUDIO for t in who.track_publications.values())
    ]
    return len(heard) >= 2


def _reaches_somebody(session: AgentSession[Any]) -> bool:
    """Not a session that only listens: what it says would count as said, and nobody hears it."""
    return session.output.audio is not None or session.output.transcription is not None

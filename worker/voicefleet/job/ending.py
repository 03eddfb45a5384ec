"""How a call ends: politely where the pod ends it, and in every case for a cause that is told."""

import asyncio
import contextlib
import logging
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext

from voicefleet.job import rooms
from voicefleet.livekit_compat import session as livekit_session
from voicefleet.settings.pod import FAREWELL_WITHIN_SECONDS
from voicefleet.telemetry.messages import Cause

logger = logging.getLogger(__name__)

# What was said last is still on its way to the caller, its sound and its text, when LiveKit has
# sent it; a room that goes at once takes it along.
LAST_WORD_SECONDS = 0.5

# Of the farewell's time, what is kept for the room: a voice that hangs is no reason to leave the
# caller in it.
HANG_UP_WITHIN_SECONDS = 2.0


class Ending:
    """Belongs to the job's event loop. `cause` is None until the call is ended from here.
    `is_for_absence`: the job ends because nobody was there, and whoever joins now meets no agent.
    `has_emptied`: the last caller has left the room, and no session has started since.
    """

    def __init__(self, ctx: JobContext, farewell: str) -> None:
        self._ctx = ctx
        self._farewell = farewell
        self.cause: Cause | None = None
        self.is_for_absence = False
        self.has_emptied = False
        self._closed_for: Cause | None = None

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
        await hang_up(self._ctx)
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

    def nobody_is_there(self, cause: Cause) -> None:
        """End the job whose room is empty, for this cause; nobody hears a farewell."""
        if self.cause is None:
            self.is_for_absence = True
            self.cause = self._closed_for or cause
            self._ctx.shutdown(self.cause.value)

    @property
    def was_the_callers(self) -> bool:
        """Whether the call ends because its caller has left, or never came."""
        ends = (Cause.CALLER_LEFT, Cause.NOBODY_CAME)
        return self.cause in ends or self._closed_for is Cause.CALLER_LEFT or self._is_alone

    @property
    def _is_alone(self) -> bool:
        return self.has_emptied and not rooms.callers(self._ctx.room)

    def somebody_left(self, participant: rtc.RemoteParticipant) -> bool:
        """A participant has left the room. True if that was the last one, and hung up: LiveKit then
        closes the session, unless the agent file has asked for another end.
        """
        self.has_emptied = self.has_emptied or not rooms.callers(self._ctx.room)
        hung_up = participant.disconnect_reason in livekit_session.HUNG_UP
        session = session_of(self._ctx)
        if session is None:
            return False
        return self._is_alone and hung_up and livekit_session.ends_with_its_caller(session)

    def session_starts(self) -> None:
        """One in the place of a session that failed, or for the next caller: the call goes on."""
        self._closed_for = None
        self.has_emptied = False

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
        if reason == CloseReason.PARTICIPANT_DISCONNECTED.value:
            # An agent file that knows by itself that its caller has gone.
            return Cause.CALLER_LEFT
        if reason in livekit_session.ROOM_WENT:
            return Cause.CALLER_LEFT if self._is_alone else Cause.ROOM_CLOSED
        return Cause.ERROR if reason in livekit_session.FAILED else Cause.AGENT_LEFT


async def hang_up(ctx: JobContext) -> None:
    """Delete the room, unless others go on talking in it. Never raises."""
    try:
        if rooms.talk_with_each_other(ctx.room):
            logger.info("the room is left to those who talk in it")
            return
        async with asyncio.timeout(HANG_UP_WITHIN_SECONDS):
            await ctx.delete_room()
    except Exception:
        logger.exception("the room could not be deleted")


def session_of(ctx: JobContext) -> AgentSession[Any] | None:
    """The session of this call, if the agent file has started one."""
    with contextlib.suppress(RuntimeError):
        return ctx.primary_session
    return None


def _reaches_somebody(session: AgentSession[Any]) -> bool:
    """Not a session that only listens: what it says would count as said, and nobody hears it."""
    return session.output.audio is not None or session.output.transcription is not None

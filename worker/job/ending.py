"""How a call ends: politely where the pod ends it, and in every case for a cause that is told."""

import asyncio
import contextlib
import logging
from typing import Any

from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext

from worker.setting_groups import FAREWELL_WITHIN_SECONDS
from worker.telemetry.events import Cause

logger = logging.getLogger(__name__)

# What LiveKit gives for the reason of a job whose room went away (livekit-agents 1.8.9,
# ipc/job_proc_lazy_main.py), and of one whose entrypoint raised.
ROOM_WENT = "room disconnected"
ENTRYPOINT_RAISED = "job crashed"


class Ending:
    """Belongs to the job's event loop. `cause` is None until the call is known to end."""

    def __init__(self, ctx: JobContext, farewell: str) -> None:
        self._ctx = ctx
        self._farewell = farewell
        self.cause: Cause | None = None

    async def politely(self, cause: Cause) -> None:
        """Say farewell if there is a session to say it, delete the room and end the job; once.

        Whatever fails on the way is logged, and the job ends all the same: a TTS that hangs keeps
        no call alive.
        """
        if self.cause is not None:
            return
        self.cause = cause
        logger.warning("the pod ends the call", extra={"cause": cause.value})
        try:
            async with asyncio.timeout(FAREWELL_WITHIN_SECONDS):
                session = session_of(self._ctx)
                if self._farewell and session is not None:
                    await session.interrupt(force=True)
                    await session.say(self._farewell, allow_interruptions=False)
                await self._ctx.delete_room()
        except Exception:
            logger.exception("the call could not be ended politely")
        self._ctx.shutdown(cause.value)

    def session_closed(self, event: CloseEvent) -> None:
        """A session that closes because its caller left, or because it failed, ends the call."""
        causes = {
            CloseReason.PARTICIPANT_DISCONNECTED: Cause.CALLER_LEFT,
            CloseReason.ERROR: Cause.ERROR,
        }
        self.cause = self.cause or causes.get(event.reason)

    def told(self, reason: str) -> Cause:
        """The cause of a job that now shuts down for LiveKit's `reason`."""
        if self.cause is None:
            self.cause = {ROOM_WENT: Cause.ROOM_CLOSED, ENTRYPOINT_RAISED: Cause.ERROR}.get(
                reason, Cause.AGENT_LEFT
            )
        return self.cause


def session_of(ctx: JobContext) -> AgentSession[Any] | None:
    """The session of this call, if the agent file has started one."""
    with contextlib.suppress(RuntimeError):
        return ctx.primary_session
    return None

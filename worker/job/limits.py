"""How a call that goes on for too long is ended: words to the caller, then the line goes down."""

import asyncio
import contextlib
import logging

from livekit.agents import AgentSession, JobContext

logger = logging.getLogger(__name__)

# The words are said, or they are not: a TTS that hangs must not keep the call alive.
FAREWELL_WITHIN_SECONDS = 20.0

REASON = "longest call reached"


async def end_after(ctx: JobContext, seconds: float, farewell: str) -> None:
    """Let the call go on for so long, then say farewell, hang up and end the job."""
    await asyncio.sleep(seconds)
    logger.warning("longest call reached", extra={"seconds": seconds})
    await end(ctx, farewell, reason=REASON)


async def end(ctx: JobContext, farewell: str, *, reason: str) -> None:
    """Say farewell if there is a session to say it, delete the room and end the job.

    Whatever fails on the way is logged, and the job ends all the same.
    """
    try:
        async with asyncio.timeout(FAREWELL_WITHIN_SECONDS):
            if farewell and (session := _session_of(ctx)) is not None:
                await session.interrupt(force=True)
                await session.say(farewell, allow_interruptions=False)
            await ctx.delete_room()
    except Exception:
        logger.exception("the call could not be ended politely")
    ctx.shutdown(reason)


def _session_of(ctx: JobContext) -> "AgentSession[object] | None":
    with contextlib.suppress(RuntimeError):
        return ctx.primary_session
    return None

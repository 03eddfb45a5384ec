"""Who is in the room of a call, and what becomes of it when the caller has left."""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from livekit import api, rtc
from livekit.agents import JobContext
from livekit.protocol import agent, models

from voicefleet.livekit_compat import session as livekit_session

logger = logging.getLogger(__name__)

T = TypeVar("T")

ANSWERED_WITHIN_SECONDS = 2.0

# LiveKit's own default (livekit-server 1.13.5, pkg/config/config.go). Whoever has a room stay for
# longer wants it to stay.
USUAL_DEPARTURE_SECONDS = 20


def callers(room: rtc.Room) -> list[rtc.RemoteParticipant]:
    """Those in the room whom an agent may serve."""
    there = room.remote_participants.values()
    return [who for who in there if livekit_session.is_caller(who)]


def talk_with_each_other(room: rtc.Room) -> bool:
    """Whether two others are in the room who can be heard: callers, colleagues, agents. A caller
    with a scribe, who is only ears, is alone; so is one with an avatar, which speaks on behalf of
    an agent. LiveKit tells of a new participant up to 3 s after it has joined.
    """
    heard = [
        who
        for who in room.remote_participants.values()
        if not livekit_session.is_avatar(who)
        and any(t.kind == rtc.TrackKind.KIND_AUDIO for t in who.track_publications.values())
    ]
    return len(heard) >= 2


async def is_entered(ctx: JobContext) -> bool:
    """Whether a caller is in the room, by LiveKit's own list: it tells a room of those who publish
    nothing up to 3 s late. True where it cannot be known. Never raises.
    """
    if ctx.is_fake_job() or callers(ctx.room):
        return True
    there = await _tried(ctx, _there(ctx), "the room was not asked about")
    return there is None or any(livekit_session.is_caller(who) for who in there)


async def leave(ctx: JobContext) -> None:
    """Delete the room if nobody but this agent and its avatar is in it, so that a caller who comes
    back rings again: LiveKit dispatches agents into a room when it is made, and keeps an empty one
    for a while. Where one is back already, dispatch again. Never raises: the call has ended.
    """
    if not ctx.is_fake_job():
        await _tried(ctx, _leave(ctx), "the room could not be left as it should be")


async def dispatch_again(ctx: JobContext) -> None:
    """Have LiveKit dispatch another agent for one who is back while this one leaves, as it did for
    this one. Never raises.
    """
    await _tried(ctx, _dispatch_again(ctx), "no agent could be asked for one who is back")


async def _leave(ctx: JobContext) -> None:
    room, own = ctx.job.room, ctx.local_participant_identity
    others = [who for who in await _there(ctx) if who.identity != own]
    if any(livekit_session.is_caller(who) for who in others):
        await _dispatch_again(ctx)
        return
    is_empty = all(livekit_session.is_avatar(who) for who in others)
    if is_empty and room.departure_timeout <= USUAL_DEPARTURE_SECONDS:
        await ctx.api.room.delete_room(api.DeleteRoomRequest(room=room.name))


async def _dispatch_again(ctx: JobContext) -> None:
    job = ctx.job
    if job.type != agent.JobType.JT_ROOM:
        # LiveKit itself dispatches for each participant.
        return
    dispatches = await ctx.api.agent_dispatch.list_dispatch(job.room.name)
    namesakes = [one for one in dispatches if one.agent_name == job.agent_name]
    newest = max(namesakes, key=lambda one: one.state.created_at, default=None)
    if newest is None or newest.id != job.dispatch_id:
        # The caller's backend has asked by itself, or this agent has already.
        return
    logger.info("a caller is back: dispatched again", extra={"room_id": job.room.name})
    await ctx.api.agent_dispatch.create_dispatch(
        api.CreateAgentDispatchRequest(
            room=job.room.name,
            agent_name=job.agent_name,
            metadata=job.metadata,
            attributes=dict(job.attributes),
            deployment=job.deployment,
        )
    )


async def _there(ctx: JobContext) -> Sequence[models.ParticipantInfo]:
    request = api.ListParticipantsRequest(room=ctx.job.room.name)
    return (await ctx.api.room.list_participants(request)).participants


async def _tried(ctx: JobContext, work: Awaitable[T], failed: str) -> T | None:
    """What comes of it; None if it fails, or takes too long, which is logged."""
    try:
        async with asyncio.timeout(ANSWERED_WITHIN_SECONDS):
            return await work
    except Exception as error:
        # A room that is gone was deleted by whoever hung up.
        if not isinstance(error, api.TwirpError) or error.code != api.TwirpErrorCode.NOT_FOUND:
            logger.info(failed, extra={"room_id": ctx.job.room.name, "error": repr(error)})
        return None

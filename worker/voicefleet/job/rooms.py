"""Who is in the room of a call, and what becomes of it when the caller has left."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livekit import api, rtc
from livekit.agents import JobContext
from livekit.protocol import agent

from voicefleet.livekit_compat import session as livekit_session

logger = logging.getLogger(__name__)

LEFT_WITHIN_SECONDS = 2.0

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


async def leave(ctx: JobContext) -> None:
    """Delete the room if nobody but this agent and its avatar is in it, so that a caller who comes
    back rings again: LiveKit dispatches agents into a room when it is made, and keeps an empty one
    for a while. Where one is back already, dispatch again. Never raises: the call has ended.
    """
    if ctx.is_fake_job():
        return
    room = ctx.job.room
    async with _within(ctx, "the room could not be left as it should be"):
        request = api.ListParticipantsRequest(room=room.name)
        there = (await ctx.api.room.list_participants(request)).participants
        own = ctx.local_participant_identity
        others = [who for who in there if who.identity != own]
        if any(livekit_session.is_caller(who) for who in others):
            await _dispatch_again(ctx)
        elif (
            all(livekit_session.is_avatar(who) for who in others)
            and room.departure_timeout <= USUAL_DEPARTURE_SECONDS
        ):
            await ctx.api.room.delete_room(api.DeleteRoomRequest(room=room.name))


async def dispatch_again(ctx: JobContext) -> None:
    """Have LiveKit dispatch another agent for one who is back while this one leaves, as it did for
    this one. Never raises.
    """
    async with _within(ctx, "no agent could be asked for one who is back"):
        await _dispatch_again(ctx)


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


@asynccontextmanager
async def _within(ctx: JobContext, failed: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(LEFT_WITHIN_SECONDS):
            yield
    except Exception as error:
        if isinstance(error, api.TwirpError) and error.code == api.TwirpErrorCode.NOT_FOUND:
            # Whoever hung up has deleted it.
            return
        logger.info(failed, extra={"room_id": ctx.job.room.name, "error": repr(error)})

"""Who is in the room of a call, and what becomes of it when the caller has left."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Container, Sequence
from typing import TypeVar

from livekit import api, rtc
from livekit.agents import JobContext
from livekit.protocol import agent, models

from voicefleet.livekit_compat import session as livekit_session

logger = logging.getLogger(__name__)

T = TypeVar("T")

ANSWERED_WITHIN_SECONDS = 2.0

# LiveKit (1.13.5) loses whoever joins in the hundredths of a second in which it deletes the room:
# they are in none, alone for good. Most who come back, as a page that loads again, do so sooner.
STAYS_EMPTY_SECONDS = 3.0

# A backend that dispatches hears of its caller from the page, or from LiveKit's webhook.
BACKEND_WITHIN_SECONDS = 2.0

# A dispatch has its job long before, or nobody took it. Two clocks are compared.
ANSWERED_BY_SECONDS = 15.0

# LiveKit's own defaults (livekit-server 1.13.5, pkg/config/config.go). Whoever has a room stay for
# longer wants it to stay.
USUAL_DEPARTURE_SECONDS = 20
USUAL_EMPTY_SECONDS = 300


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


def is_prepared(ctx: JobContext) -> bool:
    """Whether somebody has made the room for later: it stays for longer than usual before anybody
    enters it.
    """
    return ctx.job.room.empty_timeout > USUAL_EMPTY_SECONDS


async def has_caller(ctx: JobContext) -> bool | None:
    """Whether a caller is in the room, by LiveKit's own list: it tells a room of those who publish
    nothing up to 3 s late. None where it cannot be known. Never raises.
    """
    if callers(ctx.room):
        return True
    if ctx.is_fake_job():
        return None
    there = await _tried(ctx, participants(ctx), "the room was not asked about")
    return None if there is None else any(livekit_session.is_caller(who) for who in there)


async def free(ctx: JobContext, has_news: asyncio.Event) -> None:
    """Delete the room if no caller and no other agent is in it, so that a caller who comes back
    rings again: LiveKit dispatches agents into a room when it is made, and keeps an empty one for a
    while. Where one is back by then, dispatch again. `has_news` is set where a caller joins, or the
    room goes. Never raises: the call has ended.
    """
    if ctx.is_fake_job() or not ctx.room.isconnected():
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(has_news.wait(), STAYS_EMPTY_SECONDS)
    others = await _tried(ctx, participants(ctx), "the room was not asked about") or ()
    if any(livekit_session.is_caller(who) for who in others):
        await dispatch_again(ctx)
    elif others:
        await _tried(ctx, _delete(ctx, others), "an empty room could not be deleted")


async def dispatch_again(ctx: JobContext) -> None:
    """Have LiveKit dispatch another agent for one who is back while this one leaves, as it did for
    this one; unless the caller's backend does so, which is given the time to. Never raises.
    """
    if ctx.job.type == agent.JobType.JT_ROOM:
        # Where there is a job for each participant, LiveKit has dispatched.
        await asyncio.sleep(BACKEND_WITHIN_SECONDS)
        await _tried(ctx, _dispatch_again(ctx), "no agent could be asked for one who is back")


async def _delete(ctx: JobContext, others: Sequence[models.ParticipantInfo]) -> None:
    room, own = ctx.job.room, ctx.local_participant_identity
    are_none = all(who.identity == own or not _serves(who) for who in others)
    is_to_stay = room.departure_timeout > USUAL_DEPARTURE_SECONDS
    # Asked again, of what came in meanwhile. Without its connection, this may be another room.
    if are_none and not is_to_stay and not callers(ctx.room) and ctx.room.isconnected():
        await ctx.api.room.delete_room(api.DeleteRoomRequest(room=room.name))


def _serves(who: models.ParticipantInfo) -> bool:
    """Another agent, who may have something to do. Avatars and recorders leave with the room."""
    is_agent = who.kind == models.ParticipantInfo.AGENT
    return is_agent and not livekit_session.is_avatar(who)


async def _dispatch_again(ctx: JobContext) -> None:
    job = ctx.job
    there = {who.identity: who for who in await participants(ctx)}
    if not any(livekit_session.is_caller(who) for who in there.values()):
        return
    dispatches = await ctx.api.agent_dispatch.list_dispatch(job.room.name)
    own = next((one for one in dispatches if one.id == job.dispatch_id), None)
    if own is None or any(
        one.agent_name == job.agent_name and one.id != own.id and _is_answered(one, own, there)
        for one in dispatches
    ):
        # The caller's backend has asked by itself, or this job has already.
        return
    logger.info("a caller is back: dispatched again", extra={"room_id": job.room.name})
    await ctx.api.agent_dispatch.create_dispatch(
        api.CreateAgentDispatchRequest(
            room=job.room.name,
            agent_name=own.agent_name,
            metadata=own.metadata,
            attributes=dict(own.attributes),
            deployment=own.deployment,
            restart_policy=own.restart_policy,
        )
    )


def _is_answered(one: api.AgentDispatch, own: api.AgentDispatch, there: Container[str]) -> bool:
    """Whether its agent is in the room, or may still come. One that has its job is on its way for a
    moment; that of an earlier visit has been there.
    """
    age_seconds = time.time() - one.state.created_at / 1e9
    is_unanswered = not one.state.jobs or one.state.created_at > own.state.created_at
    may_come = is_unanswered and age_seconds < ANSWERED_BY_SECONDS
    return may_come or any(job.state.participant_identity in there for job in one.state.jobs)


async def participants(ctx: JobContext) -> Sequence[models.ParticipantInfo]:
    """Who is in the room, by LiveKit's own list.

    :raises Exception: whatever LiveKit's client raises.
    """
    request = api.ListParticipantsRequest(room=ctx.job.room.name)
    try:
        return (await ctx.api.room.list_participants(request)).participants
    except api.TwirpError as error:
        # Whoever hung up has deleted it.
        if error.code == api.TwirpErrorCode.NOT_FOUND:
            return ()
        raise


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

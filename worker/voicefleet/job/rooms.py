"""Who is in the room of a call, and what becomes of a room that a caller has left empty."""

import asyncio
import logging

from livekit import api, rtc
from livekit.agents import JobContext

from voicefleet.livekit_compat import session as livekit_session

logger = logging.getLogger(__name__)

DELETED_WITHIN_SECONDS = 2.0

# LiveKit's own default (livekit-server 1.13.5, pkg/config/config.go). Whoever has a room stay for
# longer wants it to stay.
USUAL_DEPARTURE_SECONDS = 20


def callers(room: rtc.Room) -> list[rtc.RemoteParticipant]:
    """Those in the room whom an agent may serve."""
    there = room.remote_participants.values()
    return [who for who in there if who.kind not in livekit_session.NO_CALLERS]


def talk_with_each_other(room: rtc.Room) -> bool:
    """Whether two others are in the room who can be heard: callers, colleagues, agents. A caller
    with a scribe, who is only ears, is alone; so is one with an avatar, which speaks on behalf of
    an agent. LiveKit tells of a new participant up to 3 s after it has joined.
    """
    heard = [
        who
        for who in room.remote_participants.values()
        if livekit_session.ON_BEHALF not in who.attributes
        and any(t.kind == rtc.TrackKind.KIND_AUDIO for t in who.track_publications.values())
    ]
    return len(heard) >= 2


async def delete_if_empty(ctx: JobContext) -> None:
    """Delete the room if nobody but this agent is in it. Never raises: the call has ended."""
    room = ctx.job.room
    if ctx.is_fake_job() or room.departure_timeout > USUAL_DEPARTURE_SECONDS:
        return
    try:
        async with asyncio.timeout(DELETED_WITHIN_SECONDS):
            request = api.ListParticipantsRequest(room=room.name)
            there = (await ctx.api.room.list_participants(request)).participants
            own = ctx.local_participant_identity
            if all(who.identity == own for who in there):
                await ctx.api.room.delete_room(api.DeleteRoomRequest(room=room.name))
    except Exception as error:
        logger.info("an empty room could not be deleted", extra={"error": repr(error)})

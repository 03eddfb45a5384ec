"""Writes down what everybody in a room says, and says nothing itself: for meetings, for records, or
beside an agent that talks.
"""

import asyncio

from livekit import rtc
from livekit.agents import AgentServer, AutoSubscribe, JobContext
from livekit.agents.job import DEFAULT_PARTICIPANT_KINDS
from livekit.agents.voice.room_io.types import DEFAULT_CLOSE_ON_DISCONNECT_REASONS

from voicefleet import build_listening_session

from .scribe import Scribe

server = AgentServer()


@server.rtc_session(agent_name="transcriber")
async def transcribe(ctx: JobContext) -> None:
    """One room, from its first participant to its last."""
    # People and telephones; other agents publish transcripts of their own.
    ctx.add_participant_entrypoint(write_down, kind=DEFAULT_PARTICIPANT_KINDS)
    await ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)


async def write_down(ctx: JobContext, participant: rtc.RemoteParticipant) -> None:
    """One participant, from joining to leaving: a session each, so that all may speak at once and
    no words are put into another's mouth.
    """
    left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_left(who: rtc.RemoteParticipant) -> None:
        # Whoever joins again under the same identity is another participant, with a new sid.
        if who.sid == participant.sid and not left.done():
            left.set_result(None)

    ctx.room.on("participant_disconnected", on_left)
    try:
        if _is_here(ctx.room, participant):
            scribe = Scribe(ctx.room, participant, lambda: build_listening_session(ctx.proc))
            await scribe.write_until(left)
    finally:
        ctx.room.off("participant_disconnected", on_left)
    if _have_all_hung_up(ctx.room, participant):
        ctx.shutdown("everybody has left")


def _is_here(room: rtc.Room, participant: rtc.RemoteParticipant) -> bool:
    return any(who.sid == participant.sid for who in room.remote_participants.values())


def _have_all_hung_up(room: rtc.Room, last: rtc.RemoteParticipant) -> bool:
    """Whoever lost the connection may come back until LiveKit closes the empty room."""
    is_empty = all(
        who.kind not in DEFAULT_PARTICIPANT_KINDS for who in room.remote_participants.values()
    )
    return is_empty and last.disconnect_reason in DEFAULT_CLOSE_ON_DISCONNECT_REASONS

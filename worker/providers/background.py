"""What is heard behind the agent's voice, by `WORKER_BACKGROUND_SOUND`: one of LiveKit's own
sounds, on a track of its own, and typing while the agent thinks.
"""

from typing import Any

from livekit.agents import (
    AgentSession,
    AudioConfig,
    BackgroundAudioPlayer,
    BuiltinAudioClip,
    JobContext,
)

from worker.providers import session

AMBIENCES = {
    "office": BuiltinAudioClip.OFFICE_AMBIENCE,
    "city": BuiltinAudioClip.CITY_AMBIENCE,
    "forest": BuiltinAudioClip.FOREST_AMBIENCE,
    "crowd": BuiltinAudioClip.CROWDED_ROOM,
}
# Loud enough to be noticed, and far below a voice.
AMBIENCE_VOLUME = 0.3
TYPING_VOLUME = 0.5


async def play(ctx: JobContext, call: AgentSession[Any]) -> None:
    """Play until the job ends. Call it once the room is connected."""
    ambience = AMBIENCES.get(session.settings_of(ctx.proc).shipped.background_sound)
    if ambience is None or ctx.is_fake_job():
        return
    player = BackgroundAudioPlayer(
        ambient_sound=AudioConfig(ambience, volume=AMBIENCE_VOLUME),
        thinking_sound=AudioConfig(BuiltinAudioClip.KEYBOARD_TYPING, volume=TYPING_VOLUME),
    )
    await player.start(room=ctx.room, agent_session=call)
    ctx.add_shutdown_callback(player.aclose)

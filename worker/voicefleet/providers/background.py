"""What is heard behind the agent's voice, by `VOICEFLEET_BACKGROUND_SOUND`: one of LiveKit's own
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

from voicefleet.providers.prepared import settings_of

# LiveKit's clips differ by 29 dB. Like this they are 26 to 36 dB below a voice: noticed, no more.
AMBIENCES = {
    "office": AudioConfig(BuiltinAudioClip.OFFICE_AMBIENCE, volume=1.0),
    "city": AudioConfig(BuiltinAudioClip.CITY_AMBIENCE, volume=0.3),
    "forest": AudioConfig(BuiltinAudioClip.FOREST_AMBIENCE, volume=1.0),
    "crowd": AudioConfig(BuiltinAudioClip.CROWDED_ROOM, volume=0.08),
}
TYPING = AudioConfig(BuiltinAudioClip.KEYBOARD_TYPING, volume=0.5)


async def play(ctx: JobContext, call: AgentSession[Any]) -> None:
    """Play until the job ends. Call it once the room is connected."""
    ambience = AMBIENCES.get(settings_of(ctx.proc).shipped.background_sound)
    if ambience is None or ctx.is_fake_job():
        return
    # It goes with the process and is not closed: LiveKit runs shutdown callbacks when it has left
    # the room, and to take the track back it waits there until the process is killed (1.8.9).
    player = BackgroundAudioPlayer(ambient_sound=ambience, thinking_sound=TYPING)
    await player.start(room=ctx.room, agent_session=call)

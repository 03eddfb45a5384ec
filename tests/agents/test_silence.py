"""What an agent does when the caller says nothing."""

import asyncio

from livekit.agents import Agent, AgentSession, SpeechCreatedEvent

from tests.agents import text_call
from tests.agents.loudspeaker import Loudspeaker, Voice
from tests.agents.scripted_llm import ScriptedLLM
from voicefleet.agents import silence
from voicefleet.agents.silence import FAREWELL, NUDGE, NUDGES_BEFORE_FAREWELL

GREETING = "Hello."
SHORT_SILENCE_SECONDS = 0.05


class Greeter(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="Help.")

    async def on_enter(self) -> None:
        self.session.say(GREETING)


async def test_silence_is_met_with_two_nudges_and_then_a_farewell() -> None:
    async with text_call.answered_by(Greeter(), user_away_timeout=SHORT_SILENCE_SECONDS) as call:
        await asyncio.wait_for(text_call.closed(call.session), timeout=5)
        assert call.spoken == [GREETING, *[NUDGE] * NUDGES_BEFORE_FAREWELL, FAREWELL]


async def test_silence_is_counted_from_the_end_of_what_is_said_aloud() -> None:
    speaker, voice = Loudspeaker(), Voice()
    async with AgentSession[None](
        llm=ScriptedLLM(),
        tts=voice,
        vad=None,
        turn_handling={"turn_detection": None},
        user_away_timeout=SHORT_SILENCE_SECONDS,
    ) as session:
        session.output.audio = speaker
        silence.watch(session)
        await session.start(Greeter())
        await asyncio.wait_for(speaker.is_sounding.wait(), timeout=2)
        await asyncio.sleep(2 * SHORT_SILENCE_SECONDS)
        assert NUDGE not in " ".join(voice.texts)
        hung_up = text_call.closed(session)
        speaker.can_end.set()
        await asyncio.wait_for(hung_up, timeout=5)
    said = " ".join(voice.texts)
    assert said == " ".join([GREETING, *[NUDGE] * NUDGES_BEFORE_FAREWELL, FAREWELL])
    assert speaker.cut_count == 0


async def test_a_caller_who_speaks_again_has_all_nudges_again() -> None:
    nudged = asyncio.Event()

    def on_speech(event: SpeechCreatedEvent) -> None:
        nudged.set()

    async with text_call.answered_by(
        Greeter(), "Of course.", user_away_timeout=SHORT_SILENCE_SECONDS
    ) as call:
        call.session.on("speech_created", on_speech)
        await asyncio.wait_for(nudged.wait(), timeout=2)
        await call.say("One moment.")
        await asyncio.wait_for(text_call.closed(call.session), timeout=5)
        after = call.spoken[call.spoken.index("Of course.") + 1 :]
        assert after == [*[NUDGE] * NUDGES_BEFORE_FAREWELL, FAREWELL]


async def test_a_closed_call_leaves_no_timer_and_no_task() -> None:
    before = asyncio.all_tasks()
    async with text_call.answered_by(Greeter(), user_away_timeout=SHORT_SILENCE_SECONDS) as call:
        pass
    spoken = call.spoken
    await asyncio.sleep(3 * SHORT_SILENCE_SECONDS)
    assert call.spoken == spoken == [GREETING]
    assert asyncio.all_tasks() == before

"""A caller who asks, hears the answer, and asks again until told to hang up; in a process of its
own, as callers have telephones of their own.

No words are recognised: whether both sides understand each other is tried once, by `fleet.call`.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from livekit import rtc

from tests.cluster.heard import Heard
from voicefleet import errors
from voicefleet.lab import conversation, line, microphone, speech
from voicefleet.lab.changes import Changes
from voicefleet.lab.line import Address, Line
from voicefleet.lab.listening import Ears, Transcriber, Utterance
from voicefleet.lab.microphone import Microphone
from voicefleet.lab.timeline import Span, silences

AGENT = "assistant"
QUESTION = conversation.load(AGENT).exchanges[0].caller

JOIN_WITHIN_SECONDS = 8.0
# Longer than the pause between two sentences.
ANSWER_IS_OVER_AFTER_SECONDS = 1.2
ASK_AGAIN_AFTER_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call has come. The spans are in seconds of the machine's monotonic clock."""

    asked: tuple[Span, ...] = ()
    heard: tuple[Span, ...] = ()
    answers: int = 0
    is_lost: bool = False


def run(line: Connection, address: Address, patience: float, log: Path) -> None:
    """The process: tells its progress, then what was heard in all, before it hangs up, or which
    error there was. Any word from the other end means to hang up, and so does its end.
    """
    with log.open("wb") as file:
        os.dup2(file.fileno(), 2)
    asyncio.run(_call(line, address, patience))


async def _call(line: Connection, address: Address, patience: float) -> None:
    caller = Caller(address, patience, tell=line.send)
    loop = asyncio.get_running_loop()

    def hang_up() -> None:
        loop.remove_reader(line.fileno())
        caller.hang_up()

    loop.add_reader(line.fileno(), hang_up)
    try:
        await caller.hold()
    except errors.VoicefleetError as error:
        line.send(error)


class Caller:
    """One call, from the dialling to the hanging up."""

    def __init__(
        self, address: Address, patience: float, tell: Callable[[Progress | Heard], None]
    ) -> None:
        self._address = address
        self._patience = patience
        self._tell = tell
        self._answers = 0
        self._is_lost = False
        self._changes = Changes()
        self._ears: list[Ears] = []
        self._questions: list[Span] = []
        self._must_hang_up = False

    def hang_up(self) -> None:
        self._must_hang_up = True
        self._changes.announce()

    async def hold(self) -> None:
        """:raises LiveKitError: if LiveKit cannot be reached or refuses the key."""
        voice = await asyncio.to_thread(
            speech.synthesize, QUESTION, sample_rate=microphone.SAMPLE_RATE
        )
        async with AsyncExitStack() as parts:
            telephone = await parts.enter_async_context(
                line.open_line(self._address, self._changes)
            )
            telephone.on_track = self._hear
            parts.push_async_callback(self._rest)
            await telephone.connect()
            mouth = await parts.enter_async_context(Microphone())
            await mouth.publish(telephone.room)
            await telephone.dispatch()
            try:
                await telephone.wait_for_agent(JOIN_WITHIN_SECONDS)
            except errors.NoAgentError:
                self._tell(Heard(None))
                return
            await self._talk(mouth, voice.pcm)
            self._tell(self._account(telephone))

    async def _talk(self, mouth: Microphone, pcm: bytes) -> None:
        await self._until(lambda: self._sound_after(0.0) is not None, self._patience)
        self._tell_progress()
        while not self._must_hang_up and not self._is_lost:
            await self._hear_out()
            first = await self._ask(mouth, pcm)
            while not self._is_answered(first) and not self._must_hang_up and not self._is_lost:
                self._is_lost = self._now() - first[1] > self._patience
                if not self._is_lost:
                    await self._ask(mouth, pcm)
            self._answers += self._is_answered(first)
            self._tell_progress()
        if not self._is_lost:
            await self._hear_out()

    async def _ask(self, mouth: Microphone, pcm: bytes) -> Span:
        """Ask once, and wait a little for the answer."""
        if self._must_hang_up:
            return (self._now(), self._now())
        spoken = await mouth.say(pcm)
        question = (spoken.started_at, spoken.ended_at)
        self._questions.append(question)
        self._tell_progress()
        await self._until(lambda: self._is_answered(question), ASK_AGAIN_AFTER_SECONDS)
        return question

    async def _hear_out(self) -> None:
        """Until the agent has been silent for a while. A dead line announces nothing, so that is
        looked for, too.
        """
        while not self._must_hang_up and not self._is_quiet():
            await self._until(self._is_quiet, ANSWER_IS_OVER_AFTER_SECONDS)

    def _is_quiet(self) -> bool:
        return all(ears.is_quiet_for(ANSWER_IS_OVER_AFTER_SECONDS) for ears in self._ears)

    def _is_answered(self, question: Span) -> bool:
        return self._sound_after(question[0]) is not None

    def _sound_after(self, at: float) -> Utterance | None:
        found = (ears.first_after(at) for ears in self._ears)
        return next((utterance for utterance in found if utterance is not None), None)

    async def _until(self, is_so: Callable[[], bool], timeout_seconds: float) -> None:
        await self._changes.until(
            lambda: self._must_hang_up or is_so(), timeout_seconds=timeout_seconds
        )

    def _hear(self, track: rtc.Track) -> None:
        """With new ears for every track: a connection that was lost and came back gives the agent's
        voice a new one.
        """
        self._ears.append(Ears(Transcriber(()), self._changes))
        self._ears[-1].listen_to(track)

    def _sounds(self) -> list[Span]:
        return sorted(
            (u.started_at, u.last_sound_at) for ears in self._ears for u in ears.utterances
        )

    def _tell_progress(self) -> None:
        asked, heard = tuple(self._questions), tuple(self._sounds())
        self._tell(Progress(asked, heard, self._answers, self._is_lost))

    def _account(self, telephone: Line) -> Heard:
        sounds = self._sounds()
        return Heard(
            joined_seconds=(telephone.agent_joined_at or 0.0) - telephone.dispatched_at,
            first_sound_seconds=sounds[0][0] - telephone.dispatched_at if sounds else None,
            answers=self._answers,
            longest_silence_seconds=max(
                silences(sounds, self._questions, self._now()), default=0.0
            ),
            is_lost=self._is_lost or not sounds,
        )

    async def _rest(self) -> None:
        for ears in self._ears:
            await ears.aclose()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

"""A caller who asks, hears the answer, and asks again until told to hang up.

No words are recognised: whether both sides understand each other is tried once, by `fleet.call`.
"""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack

from livekit import rtc

from tests.cluster.heard import Heard
from worker import errors
from worker.lab import conversation, line, microphone, speech
from worker.lab.address import Address
from worker.lab.changes import Changes
from worker.lab.line import Line
from worker.lab.listening import Ears, Transcriber, Utterance
from worker.lab.livekit_server import LiveKitServer
from worker.lab.microphone import Microphone
from worker.lab.silence import Span, silences

AGENT = "assistant"
QUESTION = conversation.load(AGENT).exchanges[0].caller

JOIN_WITHIN_SECONDS = 8.0
# Longer than the pause between two sentences.
ANSWER_IS_OVER_AFTER_SECONDS = 1.2
ASK_AGAIN_AFTER_SECONDS = 6.0
# A caller who has heard nothing for so long has hung up.
PATIENCE_SECONDS = 15.0
HEARD_WITHIN_SECONDS = 60.0


class Call:
    """One caller, on a line of its own, from the dialling to the hanging up."""

    def __init__(
        self, livekit: LiveKitServer, *, room: str = "call", patience: float = PATIENCE_SECONDS
    ) -> None:
        self.answers = 0
        self.is_lost = False
        self._livekit = livekit
        self._room = f"{room}-{secrets.token_hex(6)}"
        self._patience = patience
        self._changes = Changes()
        self._ears: list[Ears] = []
        self._questions: list[Span] = []
        self._must_hang_up = False
        self._task = asyncio.create_task(self._hold(), name=self._room)

    def __repr__(self) -> str:
        """For whoever reads why a test failed: who was heard when, in seconds of one clock."""
        asked = [tuple(round(at, 1) for at in question) for question in self._questions]
        heard = [(round(began, 1), round(ended, 1)) for began, ended in self._sounds()]
        how = "on" if self.is_on else "lost" if self.is_lost else "over"
        return f"<{self._room}, {how}: asked {asked}, heard {heard}>"

    @property
    def is_on(self) -> bool:
        return not self._task.done()

    async def until_greeted(self) -> "Call":
        """Until the first sound was heard, or the call is over."""
        return await self._reached(lambda: self._sound_after(0.0) is not None, "greeted", 1)

    async def until_answered(self, times: int = 1) -> "Call":
        """Until so many more answers were heard, or the call is over."""
        wanted = self.answers + times
        return await self._reached(lambda: self.answers >= wanted, "answered", times)

    async def _reached(self, is_so: Callable[[], bool], what: str, times: int) -> "Call":
        within = HEARD_WITHIN_SECONDS * times
        waiting = asyncio.ensure_future(self._changes.until(is_so, timeout_seconds=within))
        await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            waiting.cancel()
            self._task.result()
        else:
            assert await waiting, f"{self._room} is not {what} within {within:.0f} s"
        return self

    async def hang_up(self) -> Heard:
        self._must_hang_up = True
        self._changes.announce()
        return await self._task

    async def heard(self) -> Heard:
        """The call when it is over by itself: refused, or lost."""
        return await self._task

    async def aclose(self) -> None:
        """End it, whatever became of it."""
        self._must_hang_up = True
        self._changes.announce()
        await asyncio.wait({self._task})

    async def _hold(self) -> Heard:
        voice = await asyncio.to_thread(
            speech.synthesize, QUESTION, sample_rate=microphone.SAMPLE_RATE
        )
        livekit = self._livekit
        address = Address(
            *(livekit.url, livekit.api_key, livekit.api_secret, AGENT, self._room),
            identity=f"caller-{secrets.token_hex(3)}",
        )
        async with AsyncExitStack() as parts:
            telephone = await parts.enter_async_context(line.open_line(address, self._changes))
            telephone.on_track = self._hear
            parts.push_async_callback(self._rest)
            await telephone.connect()
            mouth = await parts.enter_async_context(Microphone())
            await mouth.publish(telephone.room)
            await telephone.dispatch()
            try:
                await telephone.wait_for_agent(JOIN_WITHIN_SECONDS)
            except errors.NoAgentError:
                return Heard(None)
            await self._talk(mouth, voice.pcm)
            return self._account(telephone)

    async def _talk(self, mouth: Microphone, pcm: bytes) -> None:
        await self._until(lambda: self._sound_after(0.0) is not None, self._patience)
        while not self._must_hang_up and not self.is_lost:
            await self._hear_out()
            first = await self._ask(mouth, pcm)
            while not self._is_answered(first) and not self._must_hang_up and not self.is_lost:
                self.is_lost = self._now() - first[1] > self._patience
                if not self.is_lost:
                    await self._ask(mouth, pcm)
            if self._is_answered(first):
                self.answers += 1
                self._changes.announce()
        if not self.is_lost:
            await self._hear_out()

    async def _ask(self, mouth: Microphone, pcm: bytes) -> Span:
        """Ask once, and wait a little for the answer."""
        if self._must_hang_up:
            return (self._now(), self._now())
        spoken = await mouth.say(pcm)
        question = (spoken.started_at, spoken.ended_at)
        self._questions.append(question)
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

    def _account(self, telephone: Line) -> Heard:
        sounds = self._sounds()
        return Heard(
            joined_seconds=(telephone.agent_joined_at or 0.0) - telephone.dispatched_at,
            first_sound_seconds=sounds[0][0] - telephone.dispatched_at if sounds else None,
            answers=self.answers,
            longest_silence_seconds=max(
                silences(sounds, self._questions, self._now()), default=0.0
            ),
            is_lost=self.is_lost or not sounds,
        )

    async def _rest(self) -> None:
        for ears in self._ears:
            await ears.aclose()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

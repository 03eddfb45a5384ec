"""A call that is only dialled, and whose caller then does as the drill says: for callers of an ill
agent, and through what ends an ordinary caller's patience.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_hex

from livekit import rtc

from worker import errors
from worker.lab import line, microphone, speech
from worker.lab.address import Address
from worker.lab.changes import Changes
from worker.lab.compare.calls import DIAL_AGAIN_SECONDS, DIAL_FOR_SECONDS
from worker.lab.compare.stage import AGENT_NAME, Stage
from worker.lab.line import Line
from worker.lab.listening import Ears, Transcriber, Utterance
from worker.lab.microphone import Microphone


@dataclass(slots=True)
class Dialled:
    """A call whose agent has joined. It has new ears for every track: a connection that was lost
    and came back gives the agent's voice a new one, and the old one may never end.
    """

    line: Line
    mouth: Microphone
    changes: Changes
    ears: list[Ears] = field(default_factory=list)

    def hear(self, track: rtc.Track) -> None:
        self.ears.append(Ears(Transcriber(()), self.changes))
        self.ears[-1].listen_to(track)

    def first_after(self, at: float) -> Utterance | None:
        heard = (ears.first_after(at) for ears in self.ears)
        return next((utterance for utterance in heard if utterance is not None), None)

    async def until_greeted(self, *, within_seconds: float) -> bool:
        """Whether the agent's first words came and are over."""

        def is_greeted() -> bool:
            first = self.first_after(0.0)
            return first is not None and first.is_over

        return await self.changes.until(is_greeted, timeout_seconds=within_seconds)

    async def is_answered(self, pcm: bytes, *, within_seconds: float) -> bool:
        """Say it, and whether any sound of the agent began after that."""
        spoken = await self.mouth.say(pcm)
        return await self.changes.until(
            lambda: self.first_after(spoken.ended_at) is not None, timeout_seconds=within_seconds
        )

    async def until_agent_is_gone(self, *, within_seconds: float) -> float | None:
        """Seconds from its coming to its going, or None if it is still there."""
        is_gone = await self.changes.until(lambda: self.line.is_cut, timeout_seconds=within_seconds)
        if not is_gone or self.line.agent_joined_at is None:
            return None
        return asyncio.get_running_loop().time() - self.line.agent_joined_at


@asynccontextmanager
async def dialled(stage: Stage, *, room: str = "call") -> AsyncIterator[Dialled]:
    """A call for as long as the block lasts, in a room whose name begins with `room-`; dialled
    again and again where nobody takes it.

    :raises NoAgentError: if nobody took it in the end.
    """
    deadline = time.monotonic() + DIAL_FOR_SECONDS
    while True:
        async with AsyncExitStack() as parts:
            try:
                call = await _dial(stage, room, parts)
            except errors.NoAgentError:
                if time.monotonic() > deadline:
                    raise
                continue
            yield call
            return


async def _dial(stage: Stage, room: str, parts: AsyncExitStack) -> Dialled:
    """One call; `parts` ends what it is made of."""
    livekit, changes = stage.livekit, Changes()
    address = Address(
        *(livekit.url, livekit.api_key, livekit.api_secret, AGENT_NAME),
        room=f"{room}-{token_hex(6)}",
        identity=f"caller-{token_hex(3)}",
    )
    telephone = await parts.enter_async_context(line.open_line(address, changes))
    await telephone.connect()
    mouth = await parts.enter_async_context(Microphone())
    call = Dialled(telephone, mouth, changes)
    parts.push_async_callback(_rest, call)
    telephone.on_track = call.hear
    await mouth.publish(telephone.room)
    await telephone.dispatch()
    await telephone.wait_for_agent(DIAL_AGAIN_SECONDS)
    return call


async def _rest(call: Dialled) -> None:
    for ears in call.ears:
        await ears.aclose()


async def voice(text: str) -> bytes:
    """What a caller says, as samples for a microphone."""
    spoken = await asyncio.to_thread(speech.synthesize, text, sample_rate=microphone.SAMPLE_RATE)
    return spoken.pcm

"""The stand-ins on a port of this machine, and what the tests send to them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions

from voicefleet.lab import providers, speech
from voicefleet.lab.behaviour import Behaviours
from voicefleet.lab.conversation import Conversation, Exchange, ToolCall

# One attempt, and no patience: a fault is to be seen, not bridged.
ONCE = APIConnectOptions(max_retry=0, timeout=1.0)
KEY = "right"


# The tests' own call: those that ship may change their words.
SCRIPT = Conversation(
    agent="assistant",
    greeting="Hello, this is the city library. How can I help you?",
    exchanges=(
        Exchange(
            "When are you open on Saturday?",
            "On Saturday we are open from ten in the morning until four in the afternoon.",
            (ToolCall("opening_hours", {"day": "saturday"}),),
        ),
        Exchange(
            "Tell me about the reading group.",
            "The reading group meets every Tuesday evening in the garden room. We read one book a "
            "month and talk about it over tea and cake. Newcomers are always welcome, and nobody "
            "minds if you have not finished the book.",
        ),
        Exchange(
            "Excuse me, do I have to bring the book?", "No, we have a copy for everyone who comes."
        ),
        Exchange("Thank you very much. Goodbye.", "Thank you for calling. Goodbye."),
    ),
)


@dataclass(frozen=True, slots=True)
class Lab:
    """A running server of stand-ins, and a session to reach it with."""

    address: str
    behaviours: Behaviours
    session: aiohttp.ClientSession
    script: Conversation

    async def get(self, path: str) -> Any:
        async with self.session.get(self.address + path) as response:
            return await response.json()


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    behaviours = Behaviours()
    app = providers.application(SCRIPT, key=KEY, behaviours=behaviours)
    async with providers.serving(app) as port, aiohttp.ClientSession() as session:
        yield Lab(f"http://127.0.0.1:{port}", behaviours, session, SCRIPT)


def spoken(text: str, *, sample_rate: int = 16_000, silence_seconds: float = 0.6) -> bytes:
    """A text as samples, with silence before and after."""
    silence = bytes(int(silence_seconds * sample_rate) * 2)
    return silence + speech.synthesize(text, sample_rate=sample_rate).pcm + silence


def frames(pcm: bytes, sample_rate: int = 16_000) -> list[rtc.AudioFrame]:
    """The samples in frames of 10 ms, as a room delivers them."""
    step = sample_rate // 100 * 2
    whole = len(pcm) // step * step
    return [
        rtc.AudioFrame(pcm[start : start + step], sample_rate, 1, step // 2)
        for start in range(0, whole, step)
    ]

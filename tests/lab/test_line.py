"""The caller's connection: whom it takes for the agent, and a call that is given up."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc
from livekit.agents.types import ATTRIBUTE_AGENT_NAME

from voicefleet.lab import line
from voicefleet.lab.changes import Changes
from voicefleet.lab.line import Address, Line

AGENT = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
CALLER = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD


@pytest.mark.parametrize(
    ("wanted", "kind", "name", "is_taken"),
    [
        ("mine", AGENT, "mine", True),
        # An agent without a name comes into every new room, and answered for one that is not there.
        ("mine", AGENT, "", False),
        ("mine", AGENT, "other", False),
        ("mine", AGENT, None, True),
        ("", AGENT, "other", True),
        ("mine", CALLER, "mine", False),
    ],
)
async def test_who_is_taken_for_the_agent_that_was_called(
    wanted: str, kind: int, name: str | None, is_taken: bool
) -> None:
    livekit: Any = None
    telephone = Line(Address("", "", "", wanted, "room", "caller"), livekit, Changes())
    attributes = {} if name is None else {ATTRIBUTE_AGENT_NAME: name}
    telephone.room.emit(
        "participant_connected", SimpleNamespace(kind=kind, attributes=attributes, identity="a")
    )
    assert (telephone.agent_joined_at is not None) is is_taken


async def test_whoever_is_cancelled_half_way_goes_when_the_work_is_over() -> None:
    """A comparison ended by itself, without a word: one of its callers had been cancelled in its
    connect, and 15 s later LiveKit's native side sent the process a SIGTERM.
    """
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def connect() -> None:
        begun.set()
        await may_end.wait()
        ended.set()

    calling = asyncio.create_task(line.after(connect()))
    await begun.wait()
    calling.cancel()
    await asyncio.sleep(0)
    assert not calling.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert ended.is_set()


async def test_what_the_work_raises_is_raised() -> None:
    async def connect() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await line.after(connect())

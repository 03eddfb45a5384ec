"""The terminal's end of LiveKit's console, with LiveKit's own end at the other side."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from livekit.agents import Agent, AgentSession, APIConnectionError
from livekit.agents.voice.remote_session import SessionHost, TcpSessionTransport

from tests.agents.scripted_llm import Call, Reply, ScriptedLLM
from tests.agents.text_call import NO_RETRY
from voicefleet.agents.triage.agent import GREETING, Reception
from voicefleet.agents.triage.case import Case
from voicefleet.lab import typed_line
from voicefleet.lab.typed_line import Door, TypedLine

Told = list[tuple[str, str]]


def address_of(door: Door) -> tuple[str, int]:
    host, _, port = door.arguments[1].rpartition(":")
    return host, int(port)


@asynccontextmanager
async def typing_to(
    agent: Agent, *replies: Reply, **options: Any
) -> AsyncIterator[tuple[TypedLine, Told, SessionHost]]:
    """A line to the agent, and what it was told of; the agent's side is as LiveKit's console."""
    told: Told = []
    async with (
        typed_line.listening() as door,
        AgentSession[Any](
            llm=ScriptedLLM(*replies),
            vad=None,
            turn_handling={"turn_detection": None},
            conn_options=NO_RETRY,
            **options,
        ) as session,
    ):
        host = SessionHost(TcpSessionTransport(*address_of(door)))
        host.register_session(session)
        await session.start(agent)
        await host.start()
        line = await door.answered(lambda what, words: told.append((what, words)))
        try:
            await line.open()
            yield line, told, host
        finally:
            await host.aclose()
            await line.aclose()


async def test_a_conversation_is_told_with_tools_handovers_refusals_and_errors() -> None:
    case = Case()
    replies: tuple[Reply, ...] = (
        *(Call("to_billing", {"reason": "a bill"}), "This is billing."),
        *(Call("look_up_bill", {"number": "9"}), "There is none."),
        APIConnectionError("the provider is down", retryable=False),
    )
    async with typing_to(Reception(case), *replies, userdata=case) as (line, told, _):
        for text in ("My bill.", "It is nine.", "Hello?"):
            await line.say(text)
    assert told[0] == ("agent", GREETING)
    assert ("tool", 'to_billing {"reason": "a bill"}') in told
    assert ("handover", "to billing") in told
    assert ("agent", "This is billing.") in told
    (refused,) = (words for what, words in told if what == "refused")
    assert refused.startswith('look_up_bill {"number": "9"} → there is no bill of that number')
    assert any(what == "error" and "provider is down" in words for what, words in told)


async def test_an_agent_that_ends_the_call_cuts_the_line() -> None:
    case = Case()
    async with typing_to(Reception(case), userdata=case) as (line, told, host):
        await host.aclose()
        await asyncio.wait_for(line.cut.wait(), timeout=5)
        await line.say("Hello?")
    assert told == [("agent", GREETING)]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x00\x00",
        b"\x00\x00\x00\x05abc",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x04\xff\xff\xff\xff",
    ],
    ids=["nothing", "half a length", "half a message", "a huge length", "no protobuf"],
)
async def test_what_is_no_console_of_livekit_is_a_line_that_is_cut(sent: bytes) -> None:
    async with typed_line.listening() as door:
        _, writer = await asyncio.open_connection(*address_of(door))
        writer.write(sent)
        writer.close()
        line = await door.answered(lambda *_: None)
        with pytest.raises((RuntimeError, TimeoutError)):
            await asyncio.wait_for(line.open(), timeout=5)
        assert line.cut.is_set()
        await line.aclose()
        await writer.wait_closed()

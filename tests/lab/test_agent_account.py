"""What the caller knows of a call from the agent's own account."""

import pytest
from livekit import rtc
from livekit.protocol.agent_pb import agent_session as protocol

from voicefleet.lab.agent_account import AgentAccount
from voicefleet.lab.changes import Changes

# As LiveKit words an error (livekit-agents 1.8.9, voice/remote_session.py).
ERROR = "type='stt_error' label='deepgram' error=APIConnectionError('no such host') recoverable={}"


def told(account: AgentAccount, recoverable: bool) -> None:
    error = protocol.AgentSessionEvent.Error(message=ERROR.format(recoverable))
    account._on_error(protocol.AgentSessionEvent(error=error))


def said(account: AgentAccount, text: str) -> None:
    event = protocol.AgentSessionEvent()
    item = event.conversation_item_added.item.message
    item.role = protocol.ASSISTANT
    item.content.add().text = text
    account._on_item(event)


@pytest.fixture
async def account() -> AgentAccount:
    return AgentAccount(rtc.Room(), Changes())


async def test_a_provider_that_is_asked_again_has_not_failed(account: AgentAccount) -> None:
    told(account, recoverable=True)
    assert not account.has_failed


async def test_one_that_is_not_has_until_the_agent_says_something(account: AgentAccount) -> None:
    """The caller waited twenty seconds for an agent that could not hear."""
    told(account, recoverable=False)
    told(account, recoverable=True)
    assert account.has_failed
    said(account, "I am sorry, I could not hear you.")
    assert not account.has_failed

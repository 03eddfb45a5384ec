"""Places a call as a person does: dials an agent over WebRTC, speaks, listens, keeps a timeline."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from voicefleet.lab import line, microphone, speech
from voicefleet.lab.agent_account import AgentAccount
from voicefleet.lab.camera import Camera
from voicefleet.lab.changes import Changes
from voicefleet.lab.conversation import Conversation, Exchange
from voicefleet.lab.line import Address
from voicefleet.lab.listening import Ears, Transcriber
from voicefleet.lab.talking import Parts, Patience, Talk
from voicefleet.lab.timeline import Event, Timeline


@dataclass(frozen=True, slots=True)
class CallPlan:
    """Whom to call and what to say. An empty `agent_name` takes whichever agent LiveKit sends.

    `greeting_timeout_seconds` is how long to wait for a greeting that the conversation does not
    promise; one that it does promise is waited for like any answer.
    """

    url: str
    api_key: str
    api_secret: str
    agent_name: str
    conversation: Conversation
    room: str = field(default_factory=lambda: f"call-{secrets.token_hex(6)}")
    join_timeout_seconds: float = 20.0
    answer_timeout_seconds: float = 20.0
    greeting_timeout_seconds: float = 5.0


def plan_from_lines(
    say: Sequence[str], expect: Sequence[str] = (), *, greeting: str = ""
) -> Conversation:
    """A conversation from what to say and what to expect, which may be unknown or end early."""
    answers = (*expect, *[""] * len(say))
    exchanges = tuple(Exchange(said, answer) for said, answer in zip(say, answers, strict=False))
    return Conversation(agent="", greeting=greeting, exchanges=exchanges)


async def place_call(
    plan: CallPlan, *, on_event: Callable[[Event], None] | None = None
) -> Timeline:
    """One call, from the dispatch to the hanging up; `on_event` is told of it while it goes on.

    :raises LiveKitError: if LiveKit cannot be reached or refuses the key.
    :raises NoAgentError: if no agent joined in time.
    """
    logging.getLogger("livekit").addFilter(_is_of_the_call)
    # What takes long is done before the clock starts.
    voice = await asyncio.to_thread(_synthesize, plan.conversation)
    transcriber = await asyncio.to_thread(Transcriber, plan.conversation.agent_phrases)

    address = Address(
        *(plan.url, plan.api_key, plan.api_secret, plan.agent_name, plan.room),
        identity=f"caller-{secrets.token_hex(3)}",
        telephone=plan.conversation.telephone,
    )
    changes = Changes()
    async with contextlib.AsyncExitStack() as stack:
        # Everything that listens is there before anything can be heard.
        ears = Ears(transcriber, changes)
        stack.push_async_callback(ears.aclose)
        telephone = await stack.enter_async_context(line.open_line(address, changes))
        telephone.on_track, telephone.on_track_gone = ears.listen_to, ears.leave
        account = AgentAccount(telephone.room, changes)
        await stack.enter_async_context(account)

        # The line is up and the microphone is open before the agent is called.
        await telephone.connect()
        mouth = await stack.enter_async_context(microphone.Microphone())
        await mouth.publish(telephone.room)
        eye: Camera | None = None
        if plan.conversation.has_camera:
            eye = await stack.enter_async_context(Camera())
            await eye.publish(telephone.room)
        await telephone.dispatch()

        parts = Parts(telephone, mouth, eye, ears, account, changes)
        patience = Patience(
            plan.join_timeout_seconds, plan.greeting_timeout_seconds, plan.answer_timeout_seconds
        )
        talk = Talk(parts, patience, on_event)
        await talk.hold(plan.conversation, voice)
    return talk.timeline(plan.room, plan.agent_name)


def _synthesize(conversation: Conversation) -> list[bytes]:
    rate = microphone.SAMPLE_RATE
    return [speech.synthesize(e.caller, sample_rate=rate).pcm for e in conversation.exchanges]


def _is_of_the_call(record: logging.LogRecord) -> bool:
    """Not what LiveKit's client says of a track that went with its room (livekit 1.1.21)."""
    return "Attempted to drop unknown FFI handle" not in record.getMessage()

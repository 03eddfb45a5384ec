"""Goes on with a call whose job has died: the agent file's own entrypoint runs again, and its
session starts with what was said before.
"""

import asyncio
import contextlib
import functools
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from livekit import api
from livekit.agents import Agent, AgentSession, AgentTask, ConversationItemAddedEvent, JobContext
from livekit.agents.llm import ChatItem, ChatMessage, FunctionCall, FunctionCallOutput
from livekit.agents.voice import SpeechHandle
from livekit.api.sip_service import SipService
from livekit.protocol import models

from voicefleet import errors
from voicefleet.conversation import agents, userdata
from voicefleet.conversation.remembered import Remembered
from voicefleet.job import rooms
from voicefleet.job.ending import LAST_WORD_SECONDS, hang_up
from voicefleet.livekit_compat import session as livekit_session
from voicefleet.settings import Settings
from voicefleet.settings.pod import FAREWELL_WITHIN_SECONDS

logger = logging.getLogger(__name__)

GO_ON = (
    "The line was cut for a moment and is back. Answer what the caller said last, and go on where"
    " the conversation was; do not greet again."
)
ASK_AGAIN = (
    "The line was cut for a moment and is back. The caller was saying: {said} Ask them to say it"
    " again, in a few words; do not greet again."
)

# The first words of an entrypoint, or of an agent, come in this time after it is back.
OPENING_SECONDS = 10.0

ASK_AGAIN_SECONDS = 0.5
# LiveKit's clients try to connect again for about so long.
RETURNS_WITHIN_SECONDS = 15.0

# What LiveKit's SIP bridge tells of a participant.
SIP_CALL_ID, SIP_NUMBER = "sip.callID", "sip.phoneNumber"

# A pause of an ordinary turn; nobody wonders about it.
UNNOTICED_SECONDS = 1.0


async def take_leave(ctx: JobContext, settings: Settings) -> None:
    """The last words of a call that takes its jobs along, without the agent file's code: nobody is
    left in silence. Never raises.
    """
    # Only now: with it come the plugins of all our providers.
    from voicefleet.providers import tts

    try:
        async with asyncio.timeout(FAREWELL_WITHIN_SECONDS):
            await ctx.connect()
            if settings.call.farewell:
                session = AgentSession[None](tts=tts.build(settings.providers))
                await session.start(Agent(instructions=""), room=ctx.room)
                await session.say(settings.call.farewell, allow_interruptions=False)
                await asyncio.sleep(LAST_WORD_SECONDS)
    except errors.SettingsError as error:
        logger.warning("no voice for the farewell", extra={"error": str(error)})
    except Exception:
        logger.exception("the farewell was not said to its end")
    await hang_up(ctx)
    ctx.shutdown("the call took its jobs along")


async def is_caller_there(ctx: JobContext) -> bool:
    """Whether the caller is still in the room. LiveKit is waited for where it is away, and then so
    is the caller, who has lost their connection too.
    """
    clock = asyncio.get_running_loop().time
    returns_until = clock()
    while True:
        is_there = await rooms.has_caller(ctx)
        if is_there is None:
            returns_until = clock() + RETURNS_WITHIN_SECONDS
        elif is_there or clock() >= returns_until:
            return is_there
        await asyncio.sleep(ASK_AGAIN_SECONDS)


def dial_nobody_again(ctx: JobContext) -> None:
    """From now on, whoever is in the call's room already is not called on the telephone: the
    entrypoint of a file that dials runs again.
    """
    dial: Any = SipService.create_sip_participant

    @functools.wraps(dial)
    async def unless_there(service: SipService, *arguments: Any, **named: Any) -> Any:
        wish = named.get("create", *arguments[:1])
        if (who := await _already_there(ctx, wish)) is None:
            return await dial(service, *arguments, **named)
        logger.info("who is in the room is not dialled again")
        return api.SIPParticipantInfo(
            participant_id=who.sid,
            participant_identity=who.identity,
            room_name=wish.room_name,
            sip_call_id=who.attributes.get(SIP_CALL_ID, ""),
        )

    SipService.create_sip_participant = unless_there  # type: ignore[method-assign,assignment]


async def _already_there(ctx: JobContext, wish: Any) -> models.ParticipantInfo | None:
    """By their identity, or where the file gives none by their number."""
    if wish.room_name != ctx.job.room.name:
        return None
    try:
        there = await rooms.participants(ctx)
    except Exception as error:
        # LiveKit answers nothing else either.
        logger.warning("the room was not asked about", extra={"error": repr(error)})
        return None
    for who in there:
        number = who.attributes.get(SIP_NUMBER)
        if who.identity == wish.participant_identity or (number and number == wish.sip_call_to):
            return who
    return None


class Resumption:
    """The first session of a job that goes on with a call. Belongs to the job's event loop."""

    def __init__(
        self, remembered: Remembered, apology: str, on_resumed: Callable[[], None]
    ) -> None:
        self._remembered, self._apology, self._on_resumed = remembered, apology, on_resumed
        self._history = remembered.history()
        self.is_last = remembered.is_last
        self.saved = remembered.one("saved")
        self.has_begun = bool(self._history.items)
        self.had_caller = self.has_begun or remembered.one("caller") is not None
        self.restores = not self.is_last
        """Whether the first session begins with what was; the agent file may do that by itself."""
        self._first: AgentSession[Any] | None = None
        self._handle: SpeechHandle | None = None
        self._opening_ends_at = math.inf

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """While the entrypoint runs, or the agent enters: a greeting that was said is not said
        again. What comes after the caller's next words, or later, is the file's own.
        """
        if not self.has_begun:
            yield
            return
        with livekit_session.openings_replaced(self._is_opening, lambda: self._handle):
            yield

    def _is_opening(self) -> bool:
        # A task of the agent that begins again has questions of its own.
        return time.monotonic() < self._opening_ends_at and not self._is_in_a_task()

    def _is_in_a_task(self) -> bool:
        if self._first is None:
            return False
        with contextlib.suppress(RuntimeError):
            return isinstance(self._first.current_agent, AgentTask)
        return False

    async def prepare(self, session: AgentSession[Any], agent: Agent) -> Agent:
        """The agent that had the call, with its history, instead of the one the file begins with.
        What cannot be brought back is logged, and left as the file makes it.
        """
        if self.is_last:
            return agent
        if self._first is not None:
            logger.warning("only the first session of a call is resumed")
            return agent
        self._first = session
        if not self.restores or not self.has_begun:
            self._on_resumed()
            return agent
        livekit_session.skip_echo_warmup(session)
        agent = self._agent(agent, self._restore_userdata(session))
        talk = self._history.copy(
            exclude_instructions=True, exclude_handoff=True, exclude_config_update=True
        )
        # With what the file gives its agent to begin with, as the caller's name.
        told = agent.chat_ctx.copy().merge(talk)
        await agent.update_chat_ctx(told, exclude_invalid_function_calls=True)
        session.history.insert(self._history.items)
        session.on("conversation_item_added", self._item_added)
        enter = agent.on_enter

        async def resumes() -> None:
            # Once: it may have the call again later.
            del agent.on_enter
            self._opening_ends_at = time.monotonic() + OPENING_SECONDS
            self._go_on(session)
            # What it sets up is needed again, and its first words are not.
            with self.opening():
                await enter()

        agent.on_enter = resumes  # type: ignore[method-assign]
        return agent

    def _item_added(self, event: ConversationItemAddedEvent) -> None:
        if isinstance(event.item, ChatMessage) and event.item.role == "user":
            self._opening_ends_at = 0.0

    def _go_on(self, session: AgentSession[Any]) -> None:
        logger.info("goes on with the call", extra={"items": len(self._history.items)})
        try:
            self._handle = self._say_where_it_was(session)
        except Exception:
            logger.exception("the agent could not say that it is back")
        self._on_resumed()

    def _say_where_it_was(self, session: AgentSession[Any]) -> SpeechHandle | None:
        """The answer that is owed, or an apology, or nothing: nobody waits, and nobody noticed."""
        hearing = self._remembered.one("hearing")
        apology = self._apology if self._remembered.seconds > UNNOTICED_SECONDS else ""
        if is_answered(self._history.items) and not hearing:
            if not apology:
                return None
            try:
                return session.say(apology)
            except RuntimeError:
                # A realtime model has no voice for a text.
                return session.generate_reply(instructions=f"Say, and nothing else: {apology}")
        instructions = GO_ON
        if is_answered(self._history.items):
            instructions = ASK_AGAIN.format(said=json.dumps(hearing))
        if apology:
            instructions += f" Begin with: {apology}"
        return session.generate_reply(instructions=instructions)

    def _restore_userdata(self, session: AgentSession[Any]) -> Any:
        try:
            data = session.userdata
        except ValueError:
            return None
        if (saved := self._remembered.one("userdata")) is not None:
            data, not_fitting = userdata.restored(data, saved["fields"])
            session.userdata = data
            if lost := [*saved["lost"], *not_fitting]:
                logger.warning("userdata is lost in part", extra={"fields": lost})
        return data

    def _agent(self, agent: Agent, data: Any) -> Agent:
        if (task := self._remembered.one("task")) is not None:
            logger.warning("a task of the agent begins again", extra={"task": task})
        told = self._remembered.one("agent")
        if told is None or (told["id"] == agent.id and type(agent).__qualname__ == told["class"]):
            return agent
        try:
            if "lost" in told:
                raise ValueError(told["lost"])
            return agents.made_like(told, data, self._history)
        except Exception as error:
            # Its words may be the caller's.
            what = told.get("lost") or type(error).__name__
            extra = {"agent": told["id"], "begins_with": agent.id, "error": what}
            logger.warning("the agent that had the call cannot be made again", extra=extra)
            return agent


def is_answered(items: Sequence[ChatItem]) -> bool:
    """Whether the agent has spoken last: nobody waits for it."""
    spoken = [i for i in items if not (isinstance(i, ChatMessage) and i.role not in SPEAKERS)]
    told = [i for i in spoken if isinstance(i, ChatMessage | FunctionCall | FunctionCallOutput)]
    return bool(told) and isinstance(told[-1], ChatMessage) and told[-1].role == "assistant"


SPEAKERS = ("user", "assistant")

"""One call while it goes on: when to speak, when to interrupt, what is kept for the timeline."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from livekit.agents.types import ATTRIBUTE_AGENT_STATE

from voicefleet.lab.agent_account import AgentAccount, Record, RecordKind
from voicefleet.lab.camera import Camera
from voicefleet.lab.changes import Changes
from voicefleet.lab.conversation import Conversation, Exchange
from voicefleet.lab.line import Line
from voicefleet.lab.listening import Ears, Utterance
from voicefleet.lab.microphone import Microphone
from voicefleet.lab.timeline import (
    Event,
    EventKind,
    Taken,
    Timeline,
    as_turn,
    by_turn,
    heard_in,
    is_understood,
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for each next step of the agent."""

    join_timeout_seconds: float
    greeting_timeout_seconds: float
    answer_timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Parts:
    """What a caller has: a line, a mouth, perhaps a camera, ears, and the agent's own account."""

    line: Line
    microphone: Microphone
    camera: Camera | None
    ears: Ears
    account: AgentAccount
    changes: Changes

    async def until_agent_listens(self, timeout_seconds: float) -> None:
        """What an agent that only writes has in place of a greeting: the state that it shows."""
        line = self.line
        line.room.on("participant_attributes_changed", lambda *_: self.changes.announce())

        def is_listening() -> bool:
            agent = line.room.remote_participants.get(line.agent_identity)
            state = agent.attributes.get(ATTRIBUTE_AGENT_STATE) if agent else None
            return line.is_cut or state == "listening"

        await self.changes.until(is_listening, timeout_seconds=timeout_seconds)


# An agent has finished when it is silent and tells that it is not busy; one that does not tell is
# given the time of a long breath between sentences.
PAUSE_OF_UNKNOWN_SECONDS = 1.5
LONGEST_ANSWER_SECONDS = 120.0
# An agent that makes up for a lost provider, by another one or an apology, does it by then.
MADE_UP_FOR_WITHIN_SECONDS = 8.0
PATIENCE_WITH_A_BREAK_SECONDS = 4.0
# The agent's account of an answer, and the words recognised in it, come right after its sound.
WORDS_WITHIN_SECONDS = 1.0

EVENT_OF_RECORD = {
    RecordKind.HEARD: EventKind.AGENT_HEARD,
    RecordKind.TOOL: EventKind.TOOL_CALLED,
    RecordKind.ERROR: EventKind.AGENT_ERROR,
}


class Talk:
    """Holds the conversation, then tells what came of it."""

    def __init__(
        self, parts: Parts, patience: Patience, on_event: Callable[[Event], None] | None
    ) -> None:
        self._parts = parts
        self._patience = patience
        self._on_event = on_event or (lambda _: None)
        self._taken: list[Taken] = []
        self._ended_at = 0.0
        self._is_cut = False
        parts.account.on_record = self._tell_record

    async def hold(self, conversation: Conversation, voice: Sequence[bytes]) -> None:
        """The whole call; ends early at the first turn that is not answered.

        :raises NoAgentError: if no agent joined in time.
        """
        line = self._parts.line
        self._tell(EventKind.DISPATCHED, line.dispatched_at)
        await line.wait_for_agent(self._patience.join_timeout_seconds)
        self._tell(EventKind.AGENT_JOINED, line.agent_joined_at or 0.0, line.agent_identity)

        if conversation.only_writes:
            self._taken.append(Taken("", "", wants_sound=False))
            await self._parts.until_agent_listens(self._patience.answer_timeout_seconds)
        else:
            await self._hear_greeting(conversation.greeting)
        if not (conversation.greeting and self._has_failed()):
            await self._take_turns(conversation, voice)

        # Now: afterwards the line goes down by itself.
        self._ended_at, self._is_cut = self._now(), line.is_cut
        who = "by the agent" if self._is_cut else "by the caller"
        self._tell(EventKind.CALL_ENDED, self._ended_at, who)

    async def _take_turns(self, conversation: Conversation, voice: Sequence[bytes]) -> None:
        for exchange, pcm in zip(conversation.exchanges, voice, strict=True):
            await self._wait_for_my_turn(exchange)
            if not await self._speak(exchange, pcm):
                break
            if conversation.only_writes:
                await self._see_written()
            elif not await self._hear_answer():
                break
        else:
            await self._hear_out()

    def _has_failed(self) -> bool:
        """Whether the agent said nothing, for a provider that failed for good: nobody is there to
        speak to.
        """
        return self._taken[-1].answer is None and self._parts.account.has_failed

    def timeline(self, room: str, agent_name: str) -> Timeline:
        """What came of it, when every word has been recognised."""
        line, account, ears = self._parts.line, self._parts.account, self._parts.ears
        accounts = by_turn(
            account.records, [(t.began_at, t.interrupted is not None) for t in self._taken[1:]]
        )
        first = ears.first_after(0.0)
        return Timeline(
            room=room,
            agent_name=agent_name,
            agent_identity=line.agent_identity,
            dispatched_at_unix_seconds=line.dispatched_at_unix_seconds,
            agent_joined_seconds=(line.agent_joined_at or 0.0) - line.dispatched_at,
            first_audio_seconds=first.started_at - line.dispatched_at if first else None,
            ended_seconds=self._ended_at - line.dispatched_at,
            was_ended_by_agent=self._is_cut,
            turns=tuple(
                as_turn(self._taken, number, self._heard(number), told, line)
                for number, told in enumerate(accounts)
            ),
            agent_errors=account.errors,
            sounds_seconds=tuple(
                (u.started_at - line.dispatched_at, u.last_sound_at - line.dispatched_at)
                for u in ears.utterances
            ),
        )

    async def _hear_greeting(self, expected: str) -> None:
        patience = self._patience
        greeting = Taken("", expected)
        self._taken.append(greeting)
        limit = patience.answer_timeout_seconds if expected else patience.greeting_timeout_seconds
        if (answer := await self._first_sound(greeting, limit)) is not None:
            self._tell(EventKind.FIRST_AUDIO, answer.started_at)

    async def _wait_for_my_turn(self, exchange: Exchange) -> None:
        answer = self._taken[-1].answer
        if exchange.interrupts_after_seconds is None or answer is None:
            await self._hear_out()
            return
        wait_seconds = answer.started_at + exchange.interrupts_after_seconds - self._now()
        await self._until(lambda: False, max(0.0, wait_seconds))

    async def _speak(self, exchange: Exchange, pcm: bytes) -> bool:
        """Whether there was still somebody to speak to."""
        taken = Taken(exchange.caller, exchange.expected, interrupted=self._parts.ears.running)
        if self._parts.camera is not None:
            self._parts.camera.show(exchange.shows)
        if not self._parts.line.is_cut:
            self._tell(EventKind.CALLER_SPEAKS, self._now(), exchange.caller)
            taken.spoken = await self._parts.microphone.say(pcm)
        self._taken.append(taken)
        return taken.spoken is not None

    async def _hear_answer(self) -> bool:
        """The answer is the first sound that begins after the caller did: what went on then is the
        old answer.
        """
        taken = self._taken[-1]
        cut_short = taken.interrupted
        if cut_short is not None:
            await self._until(lambda: cut_short.is_over, LONGEST_ANSWER_SECONDS)
            went_on = f"the agent went on for {taken.stopped_after_seconds:.2f} s"
            self._tell(EventKind.INTERRUPTED, cut_short.last_sound_at, went_on)
            await self._tell_words(len(self._taken) - 2)
        answer = await self._first_sound(taken, self._patience.answer_timeout_seconds)
        if answer is not None:
            self._tell(EventKind.AGENT_SPEAKS, answer.started_at, gap_seconds=taken.gap_seconds)
        return answer is not None

    async def _see_written(self) -> None:
        """Of an agent that only writes: wait until it has written what was said."""
        taken, account = self._taken[-1], self._parts.account
        taken.wants_sound = False
        await self._until(
            lambda: is_understood(taken.said, account.heard_since(taken.began_at)),
            self._patience.answer_timeout_seconds,
        )

    async def _first_sound(self, taken: Taken, timeout_seconds: float) -> Utterance | None:
        ears, account = self._parts.ears, self._parts.account
        given_up_at = self._now() + MADE_UP_FOR_WITHIN_SECONDS

        def is_decided() -> bool:
            if ears.first_after(taken.began_at) is not None:
                return True
            return account.has_failed and self._now() > given_up_at

        await self._until(is_decided, timeout_seconds)
        taken.answer = ears.first_after(taken.began_at)
        return taken.answer

    async def _hear_out(self) -> None:
        """Wait until the agent has finished."""
        ears, account = self._parts.ears, self._parts.account

        def is_finished() -> bool:
            if self._has_broken_off():
                return False
            if account.is_busy is None:
                return ears.is_quiet_for(PAUSE_OF_UNKNOWN_SECONDS)
            return ears.running is None and not account.is_busy

        await self._until(is_finished, LONGEST_ANSWER_SECONDS)
        await self._tell_words(len(self._taken) - 1)

    def _has_broken_off(self) -> bool:
        """Who hears an answer break off waits a while for the rest, as people do."""
        at = self._parts.account.broke_off_at
        if at is None or self._parts.ears.first_after(at) is not None:
            return False
        return self._now() - at < PATIENCE_WITH_A_BREAK_SECONDS

    async def _tell_words(self, number: int) -> None:
        """What was heard of an answer, when it is over."""
        taken, ears = self._taken[number], self._parts.ears
        if taken.answer is None:
            return
        await self._parts.changes.until(
            lambda: ears.is_all_recognized and bool(self._words(number)),
            timeout_seconds=WORDS_WITHIN_SECONDS,
        )
        self._tell(EventKind.CALLER_HEARD, self._now(), self._words(number))

    def _words(self, number: int) -> str:
        """The words recognised; of an agent with nothing to expect, those of its own account."""
        return self._heard(number) or self._parts.account.said_since(self._taken[number].began_at)

    def _heard(self, number: int) -> str:
        return heard_in(self._taken, number, self._parts.ears.utterances)

    async def _until(self, is_so: Callable[[], bool], timeout_seconds: float) -> None:
        line, changes = self._parts.line, self._parts.changes
        await changes.until(lambda: line.is_cut or is_so(), timeout_seconds=timeout_seconds)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _tell_record(self, record: Record) -> None:
        if kind := EVENT_OF_RECORD.get(record.kind):
            self._tell(kind, record.at, record.text)

    def _tell(
        self, kind: EventKind, at: float, text: str = "", gap_seconds: float | None = None
    ) -> None:
        at_seconds = at - self._parts.line.dispatched_at
        self._on_event(Event(at_seconds, kind, text, gap_seconds))

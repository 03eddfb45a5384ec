"""The calls of a drill: whole conversations, each kept or lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_hex

from livekit import rtc

from voicefleet import errors
from voicefleet.lab import caller, conversation, line, microphone, speech
from voicefleet.lab.caller import CallPlan
from voicefleet.lab.changes import Changes
from voicefleet.lab.compare.outcome import NotHeld
from voicefleet.lab.compare.stage import AGENT_NAME, Stage
from voicefleet.lab.conversation import Conversation
from voicefleet.lab.line import Address, Line
from voicefleet.lab.listening import Ears, Transcriber, Utterance
from voicefleet.lab.microphone import Microphone
from voicefleet.lab.timeline import Event, EventKind, Timeline

WHOLE = conversation.load(str(Path(__file__).with_name("conversation.toml")))
"""About 20 s: three exchanges."""
MIDDLING = replace(WHOLE, exchanges=(WHOLE.exchanges[0], WHOLE.exchanges[-1]))
"""About 13 s."""
SHORT = replace(WHOLE, exchanges=WHOLE.exchanges[-1:])
GREETING = replace(WHOLE, exchanges=())

JOIN_WITHIN_SECONDS = 8.0
ANSWER_WITHIN_SECONDS = 12.0
# An agent that dies while it speaks is busy for ever, as far as its caller knows.
LONGEST_CALL_SECONDS = 60.0

# LiveKit offers a call once and to nobody else; where one is needed to be on, it is dialled again.
DIAL_FOR_SECONDS = 40.0
DIAL_AGAIN_SECONDS = 5.0
BEGIN_TO_TALK_WITHIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Call:
    """How one call went. `problem` is what broke it off, or None if it was held to its end."""

    problem: str | None
    joined_seconds: float | None = None
    first_audio_seconds: float | None = None
    gaps_seconds: tuple[float, ...] = ()

    @property
    def is_taken(self) -> bool:
        return self.joined_seconds is not None

    @property
    def is_lost(self) -> bool:
        return self.problem is not None


def problems(done: Iterable[Call]) -> str:
    """What broke calls off, each kind once."""
    return ", ".join(sorted({call.problem for call in done if call.problem is not None}))


@dataclass(slots=True)
class Running:
    """A call that goes on, and whether its caller has begun to speak."""

    task: "asyncio.Task[Call]"
    is_talking: asyncio.Event


async def place(
    stage: Stage,
    script: Conversation,
    *,
    room: str = "call",
    is_talking: asyncio.Event | None = None,
    join_within_seconds: float = JOIN_WITHIN_SECONDS,
) -> Call:
    """A whole call in a room whose name begins with `room-`."""
    livekit, seen = stage.livekit, list[Event]()

    def on_event(event: Event) -> None:
        seen.append(event)
        if is_talking is not None and event.kind is EventKind.CALLER_SPEAKS:
            is_talking.set()

    plan = CallPlan(
        *(livekit.url, livekit.api_key, livekit.api_secret, AGENT_NAME, script),
        room=f"{room}-{token_hex(6)}",
        join_timeout_seconds=join_within_seconds,
        answer_timeout_seconds=ANSWER_WITHIN_SECONDS,
    )
    try:
        async with asyncio.timeout(LONGEST_CALL_SECONDS):
            done = await caller.place_call(plan, on_event=on_event)
    except errors.NoAgentError:
        return Call("not answered")
    except TimeoutError:
        joined = next((e.at_seconds for e in seen if e.kind is EventKind.AGENT_JOINED), None)
        return Call("the agent fell silent", joined)
    return Call(
        _break(done),
        done.agent_joined_seconds,
        done.first_audio_seconds,
        tuple(gap for turn in done.turns if (gap := turn.gap_seconds) is not None),
    )


def _break(done: Timeline) -> str | None:
    """What broke a call off. A word that one side misheard does not: recognition is not at stake
    here, and the machine is busy.
    """
    for turn in done.turns:
        if turn.said and turn.said_until_seconds is None:
            return "the agent hung up"
        if turn.said and turn.answered_at_seconds is None:
            return "the agent fell silent"
    return None if done.first_audio_seconds is not None else "the agent said nothing"


async def place_again(stage: Stage, script: Conversation, is_talking: asyncio.Event) -> Call:
    """As `place`, dialled again and again where nobody took it."""
    deadline = time.monotonic() + DIAL_FOR_SECONDS
    while True:
        done = await place(
            stage, script, is_talking=is_talking, join_within_seconds=DIAL_AGAIN_SECONDS
        )
        if done.is_taken or time.monotonic() > deadline:
            return done


@asynccontextmanager
async def on(
    stage: Stage, count: int, script: Conversation = MIDDLING
) -> AsyncIterator[list["asyncio.Task[Call]"]]:
    """So many calls that are on: each caller has been greeted and has begun to speak.

    :raises NotHeld: if they do not come about.
    """
    running: list[Running] = []
    for number in range(count):
        is_talking = asyncio.Event()
        placing = place_again(stage, script, is_talking)
        running.append(Running(asyncio.create_task(placing, name=f"call {number}"), is_talking))
    try:
        for call in running:
            await _until_talking(call)
        yield [call.task for call in running]
    finally:
        for call in running:
            call.task.cancel()
        await asyncio.gather(*(call.task for call in running), return_exceptions=True)


async def _until_talking(call: Running) -> None:
    waiting = asyncio.ensure_future(call.is_talking.wait())
    try:
        await asyncio.wait(
            {call.task, waiting},
            timeout=BEGIN_TO_TALK_WITHIN_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        waiting.cancel()
    if not call.is_talking.is_set():
        why = call.task.result().problem if call.task.done() else "not greeted in time"
        raise NotHeld(f"a call that the drill needs did not come about: {why}")


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

    async def until_heard(self, at: float, *, within_seconds: float) -> Utterance | None:
        """The first that the agent begins to say after this moment, of the event loop's time; None
        if it says nothing in time, or is gone.
        """
        await self.changes.until(
            lambda: self.line.is_cut or self.first_after(at) is not None,
            timeout_seconds=within_seconds,
        )
        return self.first_after(at)

    async def until_greeted(self, *, within_seconds: float) -> bool:
        """Whether the agent's first words came and are over."""

        def is_greeted() -> bool:
            first = self.first_after(0.0)
            return first is not None and first.is_over

        return await self.changes.until(is_greeted, timeout_seconds=within_seconds)

    async def is_answered(self, pcm: bytes, *, within_seconds: float) -> bool:
        """Say it, and whether any sound of the agent began after that."""
        spoken = await self.mouth.say(pcm)
        heard = await self.until_heard(spoken.ended_at, within_seconds=within_seconds)
        return heard is not None

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

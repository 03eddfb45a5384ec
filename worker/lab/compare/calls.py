"""The calls of a drill: whole conversations, each kept or lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex

from worker import errors
from worker.lab import caller, conversation
from worker.lab.caller import CallPlan
from worker.lab.compare.outcome import NotHeld
from worker.lab.compare.stage import AGENT_NAME, Stage
from worker.lab.conversation import Conversation
from worker.lab.timeline import Event, EventKind, Timeline

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

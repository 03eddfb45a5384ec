"""The calls of a drill: whole conversations, each kept or lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex

from worker import errors
from worker.lab import caller, conversation, timeline
from worker.lab.caller import CallPlan
from worker.lab.compare.outcome import NotHeld
from worker.lab.compare.stage import AGENT_NAME, Stage
from worker.lab.conversation import Conversation
from worker.lab.timeline import Event, EventKind

WHOLE = conversation.load(str(Path(__file__).with_name("conversation.toml")))
"""About 20 s: three exchanges."""
SHORT = replace(WHOLE, exchanges=WHOLE.exchanges[-1:])
GREETING = replace(WHOLE, exchanges=())

JOIN_WITHIN_SECONDS = 8.0
ANSWER_WITHIN_SECONDS = 12.0
# An agent that dies while it speaks is busy for ever, as far as its caller knows.
LONGEST_CALL_SECONDS = 60.0

# LiveKit offers a call once and to nobody else; where one is needed to be on, it is dialled again.
DIALS = 3
BEGIN_TO_TALK_WITHIN_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Call:
    """How one call went. `problem` is None if both sides understood each other to the end."""

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
    wrong = timeline.verdict(done)
    return Call(
        wrong.problem if wrong else None,
        done.agent_joined_seconds,
        done.first_audio_seconds,
        tuple(gap for turn in done.turns if (gap := turn.gap_seconds) is not None),
    )


async def place_again(stage: Stage, script: Conversation, is_talking: asyncio.Event) -> Call:
    """As `place`, dialled again where nobody took it."""
    for _ in range(DIALS - 1):
        done = await place(stage, script, is_talking=is_talking)
        if done.is_taken:
            return done
    return await place(stage, script, is_talking=is_talking)


@asynccontextmanager
async def on(stage: Stage, count: int) -> AsyncIterator[list["asyncio.Task[Call]"]]:
    """So many calls that are on: each caller has been greeted and has begun to speak.

    :raises NotHeld: if they do not come about.
    """
    running: list[Running] = []
    for number in range(count):
        is_talking = asyncio.Event()
        placing = place_again(stage, WHOLE, is_talking)
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

"""The raw account of each turn of a call, and the timeline that is made of it afterwards."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from worker.lab.agent_account import Record, RecordKind
from worker.lab.listening import Utterance
from worker.lab.microphone import Spoken
from worker.lab.timeline import Turn


@dataclass(frozen=True, slots=True)
class TurnAccount:
    """The records of one turn, put together. `silence_at` and `heard_at`, in the event loop's time:
    when the agent told that the caller had stopped speaking, and what it had heard.
    """

    silence_at: float | None
    heard_at: float | None
    agent_heard: str | None
    agent_said: str
    tools: tuple[str, ...]
    legs_seconds: dict[str, float]


@dataclass(slots=True)
class Taken:
    """A turn as it was taken; the greeting is one in which the caller did not speak. Times are the
    event loop's. `interrupted` is what the agent was saying when the caller began; an agent that
    only writes makes no sound.
    """

    said: str
    expected: str
    spoken: Spoken | None = None
    interrupted: Utterance | None = None
    answer: Utterance | None = None
    wants_sound: bool = True

    @property
    def began_at(self) -> float:
        """The greeting began before everything; what could not be said any more, after it."""
        if self.spoken is not None:
            return self.spoken.started_at
        return math.inf if self.said else 0.0

    @property
    def gap_seconds(self) -> float | None:
        return self.after_speech(self.answer.started_at) if self.answer else None

    def after_speech(self, at: float | None) -> float | None:
        """How long after the caller's last sound something was."""
        return at - self.spoken.ended_at if self.spoken and at is not None else None

    @property
    def stopped_after_seconds(self) -> float | None:
        """How long the agent went on after the caller began to speak."""
        if self.interrupted is None or self.spoken is None:
            return None
        return max(0.0, self.interrupted.last_sound_at - self.spoken.started_at)


def heard_in(taken: Sequence[Taken], number: int, utterances: Sequence[Utterance]) -> str:
    """The words recognised in a turn: of all that began in it."""
    until = taken[number + 1].began_at if number + 1 < len(taken) else math.inf
    within = [u for u in utterances if taken[number].began_at <= u.started_at < until]
    return " ".join(u.text for u in within if u.text)


def as_turn(
    taken: Sequence[Taken],
    number: int,
    heard: str,
    account: TurnAccount,
    dispatched_at: float,
) -> Turn:
    """The timeline's account of one turn."""
    one = taken[number]
    following = taken[number + 1] if number + 1 < len(taken) else None
    return Turn(
        said=one.said,
        expected=one.expected,
        heard=heard,
        agent_heard=account.agent_heard,
        agent_said=account.agent_said,
        tools=account.tools,
        said_from_seconds=one.spoken.started_at - dispatched_at if one.spoken else None,
        said_until_seconds=one.spoken.ended_at - dispatched_at if one.spoken else None,
        answered_at_seconds=one.answer.started_at - dispatched_at if one.answer else None,
        is_interruption=one.interrupted is not None,
        stopped_after_seconds=one.stopped_after_seconds,
        was_interrupted=following is not None and following.interrupted is not None,
        silence_noticed_after_seconds=one.after_speech(account.silence_at),
        transcript_after_seconds=one.after_speech(account.heard_at),
        legs_seconds=account.legs_seconds,
        wants_sound=one.wants_sound,
    )


def by_turn(records: Sequence[Record], turns: Sequence[tuple[float, bool]]) -> list[TurnAccount]:
    """The account of the greeting and of each turn, given when the caller began to speak in each,
    and whether that interrupted the agent. The agent tells of an interrupted answer when it gives
    it up, in the turn that interrupted it: it belongs to the turn before.
    """
    parts: list[list[Record]] = [[] for _ in range(len(turns) + 1)]
    owed = {number for number, (_, is_interruption) in enumerate(turns, 1) if is_interruption}
    for record in records:
        number = sum(began_at <= record.at for began_at, _ in turns)
        is_late = record.was_interrupted and number in owed
        parts[number - is_late].append(record)
        owed -= {number} if is_late else set()
    return [_account(part) for part in parts]


def _account(records: Sequence[Record]) -> TurnAccount:
    def texts(kind: RecordKind) -> tuple[str, ...]:
        return tuple(r.text for r in records if r.kind is kind)

    def last_at(kind: RecordKind) -> float | None:
        return max((r.at for r in records if r.kind is kind), default=None)

    legs: dict[str, float] = {}
    for record in records:
        legs = {**record.legs_seconds, **legs}
    heard = texts(RecordKind.HEARD)
    return TurnAccount(
        silence_at=last_at(RecordKind.SILENCE),
        heard_at=last_at(RecordKind.HEARD),
        agent_heard=" ".join(heard) if heard else None,
        agent_said=" ".join(texts(RecordKind.SAID)),
        tools=texts(RecordKind.TOOL),
        legs_seconds=legs,
    )

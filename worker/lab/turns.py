"""The raw account of each turn of a call, and the timeline that is made of it afterwards."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from worker.lab.agent_account import TurnAccount
from worker.lab.listening import Utterance
from worker.lab.microphone import Spoken
from worker.lab.timeline import Turn


@dataclass(slots=True)
class Taken:
    """A turn as it was taken; the greeting is one in which the caller did not speak. Times are the
    event loop's. `interrupted` is what the agent was saying when the caller began.
    """

    said: str
    expected: str
    spoken: Spoken | None = None
    interrupted: Utterance | None = None
    answer: Utterance | None = None

    @property
    def began_at(self) -> float:
        """The greeting began before everything; what could not be said any more, after it."""
        if self.spoken is not None:
            return self.spoken.started_at
        return math.inf if self.said else 0.0

    @property
    def gap_seconds(self) -> float | None:
        if self.spoken is None or self.answer is None:
            return None
        return self.answer.started_at - self.spoken.ended_at

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
        legs_seconds=account.legs_seconds,
    )

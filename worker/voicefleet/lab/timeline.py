"""What came of a call: who said what and when, and whether the two sides understood each other."""

import dataclasses
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Any, Protocol

from voicefleet import errors
from voicefleet.lab import conversation
from voicefleet.lab.agent_account import Record, RecordKind
from voicefleet.lab.listening import Utterance
from voicefleet.lab.microphone import Spoken

UNDERSTOOD_RATIO = 0.8
LONGEST_REPORT_CHARACTERS = 300
MOST_REPORTS = 4
# In LiveKit's own words for an error (livekit-agents 1.8.9, stt/stt.py).
TIMESTAMP = re.compile(r"timestamp=[\d.]+ ?")
TRIED_AGAIN = re.compile(r" ?recoverable=(True|False)")


class EventKind(StrEnum):
    DISPATCHED = "dispatched"
    AGENT_JOINED = "agent joined"
    FIRST_AUDIO = "first audio"
    CALLER_SPEAKS = "caller speaks"
    AGENT_HEARD = "agent heard"
    TOOL_CALLED = "tool called"
    AGENT_SPEAKS = "agent speaks"
    CALLER_HEARD = "caller heard"
    INTERRUPTED = "interrupted"
    AGENT_ERROR = "agent error"
    KILLED = "killed"
    CALL_ENDED = "call ended"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a call, told while it goes on. An answer is told when it is over,
    with the time at which it began and the gap before it.
    """

    at_seconds: float
    kind: EventKind
    text: str = ""
    gap_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What the caller said and what the agent answered; the greeting is a turn in which the caller
    says nothing. Times count from the dispatch.

    `gap_seconds` runs from the last voiced sample that left the microphone to the first sound of
    the answer that was heard. So it holds both ways over the network and both sides' buffers: on
    one machine about 35 ms each way, the same within a call to 1 ms.
    From the same instant, as it was told: `silence_noticed_after_seconds`, when the agent's VAD had
    noticed, and `transcript_after_seconds`, when its STT had the words.
    `legs_seconds` is LiveKit's own account of the turn, by LiveKit's own names (`llm_node_ttft`).
    `was_resumed`: the agent was gone in it and came back, and has said its answer again.
    """

    said: str
    expected: str
    heard: str = ""
    agent_heard: str | None = None
    agent_said: str = ""
    tools: tuple[str, ...] = ()
    said_from_seconds: float | None = None
    said_until_seconds: float | None = None
    answered_at_seconds: float | None = None
    is_interruption: bool = False
    stopped_after_seconds: float | None = None
    was_interrupted: bool = False
    silence_noticed_after_seconds: float | None = None
    transcript_after_seconds: float | None = None
    legs_seconds: dict[str, float] = field(default_factory=dict)
    wants_sound: bool = True
    was_resumed: bool = False

    @property
    def gap_seconds(self) -> float | None:
        if self.answered_at_seconds is None or self.said_until_seconds is None:
            return None
        return self.answered_at_seconds - self.said_until_seconds

    @property
    def is_understood_by_caller(self) -> bool:
        """Where nothing is expected, any sound will do; or none, of an agent that only writes."""
        if not self.wants_sound:
            return True
        if not self.expected:
            return self.answered_at_seconds is not None or not self.said
        likeness = similarity(
            self.expected, self.heard, is_cut=self.was_interrupted, is_again=self.was_resumed
        )
        return likeness >= UNDERSTOOD_RATIO

    @property
    def is_understood_by_agent(self) -> bool:
        """By the agent's own transcript; an agent that shows none is believed if its answer is the
        expected one.
        """
        if not self.said:
            return True
        if self.agent_heard is None:
            return bool(self.expected) and self.is_understood_by_caller
        return is_understood(self.said, self.agent_heard)


@dataclass(frozen=True, slots=True)
class Timeline:
    """A whole call. `turns[0]` is the greeting; `sounds_seconds` are the beginnings and ends of all
    that could be heard of the agent. Times count from the dispatch.
    """

    room: str
    agent_name: str
    agent_identity: str
    dispatched_at_unix_seconds: float
    agent_joined_seconds: float
    first_audio_seconds: float | None
    ended_seconds: float
    was_ended_by_agent: bool
    turns: tuple[Turn, ...]
    agent_errors: tuple[str, ...] = ()
    sounds_seconds: tuple[tuple[float, float], ...] = ()

    def silence_after(self, at_seconds: float) -> float | None:
        """How long after this moment the agent began to speak anew; None if it did not."""
        begun = (began - at_seconds for began, _ in self.sounds_seconds if began > at_seconds)
        return next(begun, None)

    @property
    def agent_understood(self) -> bool:
        return all(turn.is_understood_by_agent for turn in self.turns)

    @property
    def caller_understood(self) -> bool:
        return all(turn.is_understood_by_caller for turn in self.turns)

    def to_json(self) -> dict[str, Any]:
        """Everything that is known, rounded to milliseconds, for `json.dumps`."""
        document = dataclasses.asdict(self)
        for table, turn in zip(document["turns"], self.turns, strict=True):
            table["gap_seconds"] = turn.gap_seconds
        document["agent_understood"] = self.agent_understood
        document["caller_understood"] = self.caller_understood
        rounded: dict[str, Any] = _rounded(document)
        return rounded


def verdict(timeline: Timeline) -> errors.CallError | None:
    """What was wrong with the call, or None."""
    problems = [p for turn in timeline.turns if (p := _problem(turn))]
    if not problems:
        return None
    reported = Counter(short(text) for text in timeline.agent_errors)
    said_by_agent = "".join(
        f"; the agent reports{f' {count} times' if count > 1 else ''}: {text}"
        for text, count in reported.most_common(MOST_REPORTS)
    )
    return errors.NotUnderstoodError(
        "; ".join(problems) + said_by_agent,
        fix=f"look at the log of the agent's worker for the room {timeline.room}: its providers,"
        " their keys and languages, an agent that says other words than are expected, or a machine"
        " that is too busy to keep up; stand-ins understand only the lines of their conversation",
    )


def short(text: str) -> str:
    """An error of the agent, not longer than one reads; without its time, and without whether it is
    tried again, so that the same error is told once.
    """
    text = TRIED_AGAIN.sub("", TIMESTAMP.sub("", text))
    cut = len(text) > LONGEST_REPORT_CHARACTERS
    return f"{text[:LONGEST_REPORT_CHARACTERS]}…" if cut else text


def _problem(turn: Turn) -> str | None:
    if turn.said and turn.said_until_seconds is None:
        return f"the agent hung up before the caller could say {turn.said!r}"
    if turn.said and turn.wants_sound and turn.answered_at_seconds is None:
        return f"the agent did not answer {turn.said!r}"
    if not turn.is_understood_by_agent:
        if turn.agent_heard is None:
            return f"the agent shows no transcript of {turn.said!r}"
        return f"the caller said {turn.said!r} and the agent heard {turn.agent_heard!r}"
    if not turn.is_understood_by_caller:
        cut = ", cut short" if turn.was_interrupted else ""
        return f"expected the agent to say {turn.expected!r}{cut}, and heard {turn.heard!r}"
    return None


def is_understood(said: str, heard: str) -> bool:
    return similarity(said, heard) >= UNDERSTOOD_RATIO


def similarity(expected: str, heard: str, *, is_cut: bool = False, is_again: bool = False) -> float:
    """How much of two texts is the same, 0 to 1, by words in their order (difflib's ratio).

    :param is_cut: only the beginning of the expected text could be heard: any beginning will do.
    :param is_again: what was heard begins with what broke off: any ending of it will do.
    """
    wanted, got = conversation.words(expected), conversation.words(heard)
    if not got:
        return 0.0 if wanted else 1.0
    beginnings: Iterable[int] = range(1, len(wanted) + 1) if is_cut else (len(wanted),)
    endings = range(len(got)) if is_again else (0,)
    return max(
        SequenceMatcher(None, wanted[:count], got[first:], autojunk=False).ratio()
        for count in beginnings
        for first in endings
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value


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


class Heard(Protocol):
    """What a turn takes from the line, in the event loop's time."""

    dispatched_at: float
    returned_at: list[float]


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
    line: "Heard",
) -> Turn:
    """The timeline's account of one turn."""
    one = taken[number]
    following = taken[number + 1] if number + 1 < len(taken) else None
    until = following.began_at if following else math.inf
    dispatched_at = line.dispatched_at
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
        was_resumed=any(one.began_at <= at < until for at in line.returned_at),
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


Span = tuple[float, float]
"""From when to when somebody spoke, in seconds of one clock."""


def silences(answers: Sequence[Span], questions: Sequence[Span], until: float) -> list[float]:
    """How long the caller waited for each sound of the agent, from the first on, and at last until
    the end if the last question was not answered.

    A wait begins when the agent stops, or when the caller has asked; who asks again meanwhile
    waits on. The agent's own pauses count, and the caller's before a question do not.
    """
    found = []
    for (_, stopped), (began, _) in itertools.pairwise(answers):
        found.append(max(0.0, began - _waits_from(stopped, began, questions)))
    if answers and any(ended > answers[-1][1] for _, ended in questions):
        stopped = answers[-1][1]
        found.append(max(0.0, until - _waits_from(stopped, until, questions)))
    return found


def _waits_from(stopped: float, until: float, questions: Sequence[Span]) -> float:
    """Whoever is interrupted by the answer did not wait for it."""
    asked = (min(ended, until) for began, ended in questions if ended > stopped and began < until)
    return next(asked, stopped)

"""How each stand-in is to behave, and what it was asked: changeable and readable while it runs."""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from voicefleet import errors

PROVIDERS = ("deepgram", "openai-llm", "openai-stt", "openai-tts", "openai-realtime", "cartesia")
# Enough for a load test of an hour; the oldest are forgotten, the counts are not.
MAX_RECORDS = 10_000
MAX_SECONDS = 600.0


class Fault(StrEnum):
    """What goes wrong: an answer with the status 401, 429 or 500, an answer that is cut off in the
    middle, or a request that is taken and never answered.
    """

    NONE = "none"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    CUT = "cut"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Each answer comes `latency_seconds` later, give or take up to `jitter_seconds`. The fault
    hits `fault_ratio` of the requests (0 to 1), and no more than `fault_limit` of them.
    """

    latency_seconds: float = 0.0
    jitter_seconds: float = 0.0
    fault: Fault = Fault.NONE
    fault_ratio: float = 1.0
    fault_limit: int | None = None

    def __post_init__(self) -> None:
        for name, most in (
            ("latency_seconds", MAX_SECONDS),
            ("jitter_seconds", MAX_SECONDS),
            ("fault_ratio", 1.0),
        ):
            if not 0 <= getattr(self, name) <= most:
                raise _wrong(name, getattr(self, name), f"a number from 0 to {most:g}")
        if self.fault_limit is not None and self.fault_limit < 0:
            raise _wrong("fault_limit", self.fault_limit, "null, or a whole number from 0")


@dataclass(slots=True)
class Record:
    """One thing asked of a provider: a request (or connection), a text to speak, an utterance to
    recognise. Times are Unix seconds. An utterance arrives with its last loud sample.
    """

    provider: str
    kind: str = "request"
    arrived: float = field(default_factory=time.time)
    first_answer: float | None = None
    added_delay_seconds: float = 0.0
    fault: Fault = Fault.NONE
    note: str = ""

    def answer(self) -> None:
        """The first byte, or first word, leaves now."""
        if self.first_answer is None:
            self.first_answer = time.time()

    async def delay(self, seconds: float) -> None:
        """Be late on purpose."""
        if seconds > 0:
            self.added_delay_seconds += seconds
            await asyncio.sleep(seconds)


class Behaviours:
    """The behaviour of every provider and the record of what was asked. For one event loop."""

    def __init__(self, behaviours: Mapping[str, Behaviour] | None = None) -> None:
        self._behaviours = {provider: Behaviour() for provider in PROVIDERS}
        self._faults_left: dict[str, int | None] = {}
        self._counts: Counter[str] = Counter()
        self._records: deque[Record] = deque(maxlen=MAX_RECORDS)
        for provider, behaviour in (behaviours or {}).items():
            self.change(provider, behaviour)

    def of(self, provider: str) -> Behaviour:
        return self._behaviours[provider]

    def change(self, provider: str, behaviour: Behaviour) -> None:
        """From the next request on; latency also within connections that are open."""
        self._behaviours[provider] = behaviour
        self._faults_left[provider] = behaviour.fault_limit

    def begin(self, provider: str) -> Record:
        """Note a request and decide what befalls it."""
        record = self.note(provider, "request")
        record.fault = self._next_fault(provider)
        self._counts[provider] += 1
        return record

    def note(self, provider: str, kind: str) -> Record:
        """Note one of several things that are asked in one connection."""
        record = Record(provider, kind)
        self._records.append(record)
        return record

    def latency_seconds(self, provider: str) -> float:
        """How late the next answer is to be."""
        behaviour = self._behaviours[provider]
        jitter = random.uniform(-behaviour.jitter_seconds, behaviour.jitter_seconds)
        return max(0.0, behaviour.latency_seconds + jitter)

    def report(self) -> dict[str, Any]:
        """Counts since the start and the latest records, oldest first, as JSON."""
        return {
            "counts": {provider: self._counts[provider] for provider in PROVIDERS},
            "requests": [asdict(record) for record in self._records],
        }

    def _next_fault(self, provider: str) -> Fault:
        behaviour, left = self._behaviours[provider], self._faults_left.get(provider)
        if behaviour.fault is Fault.NONE or left == 0 or random.random() >= behaviour.fault_ratio:
            return Fault.NONE
        if left is not None:
            self._faults_left[provider] = left - 1
        return behaviour.fault


def from_json(document: object) -> Behaviour:
    """A behaviour from parsed JSON; what it does not name keeps its default.

    :raises UsageError: with a sentence for the one who sent it.
    """
    if not isinstance(document, dict):
        raise errors.UsageError("the behaviour is not a JSON object", fix='send {"fault": "cut"}')
    return Behaviour(**dict(_checked(document)))


def from_text(text: str) -> tuple[str, Behaviour]:
    """A provider and its behaviour from the command line: deepgram:latency_seconds=0.2,fault=cut

    :raises UsageError: if it is not of this form.
    """
    provider, _, settings = text.partition(":")
    if provider not in PROVIDERS:
        raise errors.UsageError(
            f"there is no provider {provider!r}", fix=f"use one of: {', '.join(PROVIDERS)}"
        )
    pairs = [pair.partition("=") for pair in settings.split(",") if pair]
    return provider, from_json({name.strip(): _number(value.strip()) for name, _, value in pairs})


def _checked(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    known = {f.name for f in fields(Behaviour)}
    for name, value in document.items():
        if name not in known:
            raise _wrong("setting", name, f"one of {', '.join(sorted(known))}")
        if name == "fault":
            if value not in list(Fault):
                raise _wrong(name, value, f"one of {', '.join(Fault)}")
            yield name, Fault(value)
        elif name == "fault_limit" and value is not None and type(value) is not int:
            raise _wrong(name, value, "null, or a whole number from 0")
        elif name != "fault_limit" and type(value) not in (int, float):
            raise _wrong(name, value, "a number")
        else:
            yield name, value


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _wrong(name: str, value: object, expected: str) -> errors.UsageError:
    shown = repr(value)[:80]
    return errors.UsageError(f"{name} is {shown}; it must be {expected}", fix="correct the value")

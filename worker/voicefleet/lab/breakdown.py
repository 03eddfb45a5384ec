"""Where the time of a turn goes: each leg over many calls, with and without the stand-ins' share.

The legs do not add up to the gap: the LLM may already think while the turn detector still waits
(LiveKit's preemptive generation), and recognition runs beside the VAD. VAD and recognition are told
by the agent and timed at the caller; turn detection, LLM and TTS are LiveKit's own figures.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from voicefleet.lab.timeline import Timeline, Turn


@dataclass(frozen=True, slots=True)
class Request:
    """One answer of a stand-in, as `GET /lab/requests` tells it. Times are unix seconds; an
    utterance arrives with its last sound.
    """

    provider: str
    kind: str
    arrived: float
    first_answer: float | None

    @property
    def took_seconds(self) -> float:
        return (self.first_answer or self.arrived) - self.arrived


@dataclass(frozen=True, slots=True)
class Leg:
    """All values of one leg, and of the stand-ins' own share in each (seconds)."""

    name: str
    seconds: tuple[float, ...]
    stand_in_seconds: tuple[float, ...] = ()

    @property
    def without_stand_in(self) -> tuple[float, ...]:
        return tuple(a - b for a, b in zip(self.seconds, self.stand_in_seconds, strict=True))


def legs(timelines: Sequence[Timeline], requests: Iterable[Request]) -> list[Leg]:
    """Every leg of these calls: the join, the gap, and what the gap is made of."""
    told = sorted(requests, key=lambda request: request.arrived)
    turns = [(t, turn) for t in timelines for turn in t.turns if turn.gap_seconds is not None]
    rows = [
        Leg("dispatch to joined", tuple(t.agent_joined_seconds for t in timelines)),
        Leg("dispatch to first sound", tuple(t.first_audio_seconds or 0.0 for t in timelines)),
        _leg("gap: end of speech to answer", turns, lambda turn: turn.gap_seconds),
        _leg("· VAD, to silence noticed", turns, lambda turn: turn.silence_noticed_after_seconds),
        _leg("· recognition, to transcript", turns, _transcript, told, "deepgram"),
        _leg("· turn detection, to turn over", turns, _named("end_of_turn_delay")),
        _leg("· LLM, to first token", turns, _named("llm_node_ttft"), told, "openai-llm"),
        _leg("· TTS, to first audio", turns, _named("tts_node_ttfb"), told, "cartesia"),
        _leg("· LiveKit and the way", turns, _way),
    ]
    return [row for row in rows if row.seconds]


Measure = Callable[[Turn], float | None]


def _leg(
    name: str,
    turns: Sequence[tuple[Timeline, Turn]],
    measure: Measure,
    requests: Sequence[Request] = (),
    provider: str = "",
) -> Leg:
    values, shares = [], []
    for timeline, turn in turns:
        value = measure(turn)
        if value is None:
            continue
        answered = _last_answer(timeline, turn, requests, provider)
        if provider and answered is None:
            continue
        values.append(value)
        shares.append(answered.took_seconds if answered else 0.0)
    return Leg(name, tuple(values), tuple(shares) if provider else ())


def _last_answer(
    timeline: Timeline, turn: Turn, requests: Sequence[Request], provider: str
) -> Request | None:
    """The stand-in's last work for this turn: the one that the answer waited for."""
    start = timeline.dispatched_at_unix_seconds
    began, ended = (
        start + (turn.said_from_seconds or 0.0),
        start + (turn.answered_at_seconds or 0.0),
    )
    within = [
        request
        for request in requests
        if request.provider == provider
        and (request.kind != "request" or provider == "openai-llm")
        and began <= request.arrived <= ended
    ]
    return within[-1] if within else None


def _named(name: str) -> Measure:
    return lambda turn: turn.legs_seconds.get(name)


def _transcript(turn: Turn) -> float | None:
    return turn.transcript_after_seconds


def _way(turn: Turn) -> float | None:
    """What LiveKit's own account of the turn leaves of the gap: media both ways, and buffers."""
    e2e = turn.legs_seconds.get("e2e_latency")
    return None if e2e is None or turn.gap_seconds is None else turn.gap_seconds - e2e


def table(rows: Sequence[Leg]) -> str:
    """The legs as lines: least, median, most, the stand-ins' share, and the median without it."""
    head = f"{'':32} {'min':>7} {'median':>7} {'max':>7} {'stand-in':>9} {'without':>8}  (seconds)"
    return "\n".join([head, *(_line(row) for row in rows)])


def _line(row: Leg) -> str:
    values = row.seconds
    text = f"{row.name:32} {min(values):7.3f} {median(values):7.3f} {max(values):7.3f}"
    if row.stand_in_seconds:
        without = median(row.without_stand_in)
        text += f" {median(row.stand_in_seconds):9.3f} {without:8.3f}"
    return f"{text:82} n={len(values)}"

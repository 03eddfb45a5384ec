"""Every metric and every span attribute of ours: its name, unit and meaning, once.

Dashboards, alerts and the collector's configuration may use only these names.
"""

from dataclasses import dataclass
from enum import StrEnum

from voicefleet.telemetry.messages import OUTCOMES, NotResumed

PREFIX = "voicefleet_"


class Kind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` is the name at the scrape. `series` are label values that are known beforehand: these
    series exist from the start, at zero. A histogram's `buckets` are upper bounds in its unit.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    series: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = ()


# A phone call feels answered within a second and dead after three; LiveKit gives up on a pod at 3.
JOIN_BUCKETS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
# People leave a gap of 0.2 s between turns, notice 0.8 s, and speak again after 2 s.
TURN_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 5.0, 10.0)
# From a caller who hangs up at once to a drain's hour.
CALL_BUCKETS = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0)

PHASES = ("starting", "ready", "draining", "stopped")
LOAD_PARTS = ("slots", "cpu", "memory")
LEGS = ("transcript", "end_of_turn", "first_token", "first_audio", "heard")


def _gauge(name: str, unit: str, meaning: str, *labels: str) -> Metric:
    return Metric(PREFIX + name, Kind.GAUGE, unit, meaning, labels)


def _counter(
    name: str, unit: str, meaning: str, *labels: str, series: tuple[tuple[str, ...], ...] = ()
) -> Metric:
    return Metric(PREFIX + name, Kind.COUNTER, unit, meaning, labels, series)


CALLS_ACTIVE = _gauge("calls_active", "calls", "How many calls are in progress.")
CALLS_FINISHING = _gauge(
    "calls_finishing",
    "calls",
    "How many calls still run the agent file's end handlers after the caller has left.",
)
SLOTS = _gauge("slots", "calls", "How many calls the pod takes at once.")
LOAD = _gauge("load_ratio", "ratio", "How much of the part is in use, where 1 is full.", "part")
LOAD_REPORTED = _gauge(
    "load_reported_ratio",
    "ratio",
    "How much load the pod reports to LiveKit, which offers nothing at 0.7.",
)
PHASE = _gauge("phase", "0 or 1", "Which phase the pod is in: 1 for that phase.", "phase")
DRAIN_CALLS_LEFT = _gauge("drain_calls_left", "calls", "How many calls a drain still waits for.")
DRAIN_BEGAN = _gauge(
    "drain_began_timestamp_seconds", "unix s", "When the drain began; 0 if there is none."
)
DRAIN_DEADLINE = _gauge(
    "drain_deadline_timestamp_seconds",
    "unix s",
    "When the drain ends at the latest; 0 if there is none.",
)
OLDEST_CALL = _gauge("oldest_call_seconds", "s", "How long the oldest call has lasted so far.")
WARM_PROCESSES = _gauge(
    "warm_processes", "processes", "How many processes with loaded models wait for a call."
)
LIVEKIT_CONNECTED = _gauge(
    "livekit_connected", "0 or 1", "Whether the pod is connected to LiveKit: 1 if it is."
)
CALL_MEMORY = _gauge(
    "call_memory_bytes", "bytes", "How much memory (PSS) the call in this slot uses.", "slot"
)
INFO = _gauge(
    "info",
    "1",
    "Which versions and which agent the pod runs.",
    "version",
    "agent_name",
    "livekit_agents_version",
)
CALLS_TAKEN = _counter("calls_taken_total", "calls", "How many offered calls the pod has taken.")
CALLS = _counter(
    "calls_total",
    "calls",
    "How many calls ended this way, or were refused.",
    "outcome",
    "cause",
    series=tuple((outcome.value, cause.value) for cause, outcome in OUTCOMES.items()),
)
INTERRUPTIONS = _counter(
    "interruptions_total", "turns", "How many times a caller spoke while the agent did."
)
TOKENS = _counter(
    "tokens_total",
    "tokens",
    "How many tokens a model read and wrote; the input includes the cached ones.",
    "provider",
    "model",
    "type",
)
CHARACTERS = _counter(
    "characters_total",
    "characters",
    "How many characters were turned into speech.",
    "provider",
    "model",
)
AUDIO = _counter(
    "audio_seconds_total",
    "s",
    "How many seconds of audio were heard (stt) or spoken (tts).",
    "provider",
    "model",
    "kind",
)
HANDOVERS = _counter(
    "handovers_total", "times", "How many times an agent handed over.", "from_agent", "to_agent"
)
PROVIDER_ERRORS = _counter(
    "provider_errors_total",
    "errors",
    "How many requests to a provider failed; a recoverable one is tried again.",
    "kind",
    "provider",
    "recoverable",
)
PROVIDER_FALLBACKS = _counter(
    "provider_fallbacks_total",
    "times",
    "How many times a chain went on to its next provider because this one failed.",
    "kind",
    "provider",
)
STALLS = _counter(
    "event_loop_stalls_total",
    "stalls",
    "How many times an event loop stood still for 0.1 s or more, in the pod or in a call.",
    "process",
    series=(("pod",), ("call",)),
)
RECONNECTS = _counter(
    "livekit_reconnects_total", "times", "How many times the pod has registered with LiveKit again."
)
PREWARM_FAILURES = _counter(
    "prewarm_failures_total", "processes", "How many processes failed to load their models."
)
EVENTS_REJECTED = _counter(
    "events_rejected_total",
    "lines",
    "How many lines from job processes the pod did not understand.",
)
DEATHS = _counter(
    "job_deaths_total",
    "processes",
    "How many processes died with a call, or were killed, by what would have ended it.",
    "cause",
    series=(("crashed",), ("memory",), ("unresponsive",)),
)
RESUMES = _counter("calls_resumed_total", "times", "How many times a call went on after a death.")
NOT_RESUMED = _counter(
    "calls_not_resumed_total",
    "calls",
    "How many calls were lost with their process, and why they were not brought back.",
    "reason",
    series=tuple((reason.value,) for reason in NotResumed),
)
RESUME_SILENCE = Metric(
    PREFIX + "resume_silence_seconds",
    Kind.HISTOGRAM,
    "s",
    "How long it takes from the death of a call's process until the agent is back.",
    buckets=JOIN_BUCKETS,
)
JOIN = Metric(
    PREFIX + "join_seconds",
    Kind.HISTOGRAM,
    "s",
    "How long it takes from LiveKit's offer to the agent in the room.",
    buckets=JOIN_BUCKETS,
)
CALL_LENGTH = Metric(
    PREFIX + "call_seconds", Kind.HISTOGRAM, "s", "How long calls last.", buckets=CALL_BUCKETS
)
TURN = Metric(
    PREFIX + "turn_seconds",
    Kind.HISTOGRAM,
    "s",
    "How long each leg of a turn takes. From the end of the caller's speech: transcript,"
    " end_of_turn, heard (the answer leaves the agent). From its own request: first_token (LLM),"
    " first_audio (TTS).",
    ("leg",),
    tuple((leg,) for leg in LEGS),
    TURN_BUCKETS,
)

METRICS: tuple[Metric, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)


class SpanAttribute(StrEnum):
    """The attributes of the pod's span of a call; every span of a call has the version as well.
    `job_id`, `room_id` and `lk.agent_name` are LiveKit's own names.
    """

    VERSION = "voicefleet.version"
    JOB_ID = "job_id"
    ROOM_ID = "room_id"
    AGENT_NAME = "lk.agent_name"
    OUTCOME = "voicefleet.outcome"
    CAUSE = "voicefleet.cause"
    # From 0 to the pod's slots.
    SLOT = "voicefleet.slot"
    # How many seconds from the offer to the pod's answer, from there to a process with the call,
    # and from the offer to the agent in the room.
    ACCEPT_SECONDS = "voicefleet.accept_seconds"
    LAUNCH_SECONDS = "voicefleet.launch_seconds"
    JOIN_SECONDS = "voicefleet.join_seconds"
    # How many times the call went on after a death of its process, and how long its caller waited
    # for the agent in all.
    RESUMES = "voicefleet.resumes"
    SILENCE_SECONDS = "voicefleet.silence_seconds"

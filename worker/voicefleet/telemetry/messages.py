"""The messages between a job process and its pod: one JSON object a line, over a Unix socket.

A process sends facts (`Fact`), the pod sends orders (`Order`). Both ends validate each line with
the adapters below: a line of another form is an error at its receiver and never a crash.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

# A longer line cannot be one of these messages.
LONGEST_LINE_BYTES = 64 * 1024
LONGEST_TEXT = 4096
LONGEST_IDENTIFIER = 256
# Base64; the rest of the line is for the JSON around it.
LONGEST_SPAN_DATA = LONGEST_LINE_BYTES - 256
# JSON in JSON: each character is at most six bytes of a line, and hardly one in ordinary talk.
LONGEST_PIECE = 8 * 1024

Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Identifier = Annotated[str, Field(max_length=LONGEST_IDENTIFIER)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
SpanData = Annotated[str, Field(max_length=LONGEST_SPAN_DATA)]
ProviderKind = Literal["stt", "llm", "tts", "realtime"]
KeptKind = Literal["caller", "item", "tool", "agent", "task", "userdata", "hearing", "saved"]


class NotResumed(StrEnum):
    """Why a call that has lost its job is not brought back."""

    OFF = "off"
    TOO_OFTEN = "too_often"
    MEMORY = "memory"
    POD_STOPS = "pod_stops"
    NOT_LAUNCHED = "not_launched"


class Outcome(StrEnum):
    """How a call ended. COMPLETED: somebody hung up. CUT_SHORT: the pod ended it, with a farewell.
    FAILED: it broke or its process died. REFUSED: it was offered and not taken.
    """

    COMPLETED = "completed"
    CUT_SHORT = "cut_short"
    FAILED = "failed"
    REFUSED = "refused"


class Cause(StrEnum):
    """Why a call ended, or never began. Those of `TOLD_CAUSES` come from the call's own process;
    the pod finds out the others. ERROR: the agent file raised, LiveKit closed the session for it,
    or whoever hung up cannot have been served, because a provider failed whenever it was asked.
    """

    CALLER_LEFT = "caller_left"
    AGENT_LEFT = "agent_left"
    ROOM_CLOSED = "room_closed"
    ERROR = "error"
    TOO_LONG = "too_long"
    SILENT = "silent"
    DRAINED = "drained"
    NOBODY_CAME = "nobody_came"
    CRASHED = "crashed"
    MEMORY = "memory"
    UNRESPONSIVE = "unresponsive"
    END_CUT_OFF = "end_cut_off"
    NO_SLOT = "no_slot"
    NOT_WARM = "not_warm"
    DRAINING = "draining"
    OVERLOADED = "overloaded"
    AGENT_FILE = "agent_file"
    AGENT_FILE_FAILED = "agent_file_failed"
    NOT_ASSIGNED = "not_assigned"
    NOT_STARTED = "not_started"


OUTCOMES: dict[Cause, Outcome] = {
    Cause.CALLER_LEFT: Outcome.COMPLETED,
    Cause.AGENT_LEFT: Outcome.COMPLETED,
    Cause.ROOM_CLOSED: Outcome.COMPLETED,
    Cause.NOBODY_CAME: Outcome.COMPLETED,
    Cause.ERROR: Outcome.FAILED,
    Cause.TOO_LONG: Outcome.CUT_SHORT,
    Cause.SILENT: Outcome.CUT_SHORT,
    Cause.DRAINED: Outcome.CUT_SHORT,
    Cause.CRASHED: Outcome.FAILED,
    Cause.MEMORY: Outcome.FAILED,
    Cause.UNRESPONSIVE: Outcome.FAILED,
    # The call was over for its caller; its shutdown callbacks took longer than they may.
    Cause.END_CUT_OFF: Outcome.COMPLETED,
    Cause.NO_SLOT: Outcome.REFUSED,
    Cause.NOT_WARM: Outcome.REFUSED,
    Cause.DRAINING: Outcome.REFUSED,
    Cause.OVERLOADED: Outcome.REFUSED,
    Cause.AGENT_FILE: Outcome.REFUSED,
    Cause.AGENT_FILE_FAILED: Outcome.REFUSED,
    # LiveKit asked and was told yes, but did not assign the call to this pod.
    Cause.NOT_ASSIGNED: Outcome.REFUSED,
    Cause.NOT_STARTED: Outcome.FAILED,
}

# The causes that a process may give for its own end.
TOLD_CAUSES = frozenset(
    {
        Cause.CALLER_LEFT,
        Cause.AGENT_LEFT,
        Cause.ROOM_CLOSED,
        Cause.ERROR,
        Cause.TOO_LONG,
        Cause.SILENT,
        Cause.DRAINED,
        Cause.NOBODY_CAME,
    }
)


def _is_told(cause: Cause) -> Cause:
    if cause not in TOLD_CAUSES:
        raise ValueError("a process cannot give this cause for its own end")
    return cause


ToldCause = Annotated[Cause, AfterValidator(_is_told)]


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Warming(Message):
    """The first line of every process: it waits for `Proceed`, and then loads its models."""

    type: Literal["warming"] = "warming"
    pid: int = Field(gt=0)


class Warm(Message):
    """The models are loaded: the process can take a call."""

    type: Literal["warm"] = "warm"


class PrewarmFailed(Message):
    """The models could not be loaded: the process ends."""

    type: Literal["prewarm_failed"] = "prewarm_failed"
    error: Text


class CallStarted(Message):
    """The agent file's entrypoint is about to run."""

    type: Literal["call_started"] = "call_started"
    job_id: Identifier


class SessionsOpen(Message):
    """How many sessions the call has now. Without one the pod itself looks whether the caller is
    still in the room.
    """

    type: Literal["sessions_open"] = "sessions_open"
    count: Count


class CallEnding(Message):
    """The caller has hung up. The process still runs the agent file's end handlers."""

    type: Literal["call_ending"] = "call_ending"


class CallEnded(Message):
    """The last line of a process. A process that ends without it has died."""

    type: Literal["call_ended"] = "call_ended"
    cause: ToldCause
    seconds: Seconds


class Alive(Message):
    """The call's event loop turns."""

    type: Literal["alive"] = "alive"


class Joined(Message):
    """The agent is in the room. `seconds` is the time since LiveKit offered the call to the pod."""

    type: Literal["joined"] = "joined"
    seconds: Seconds


class TurnTaken(Message):
    """One part of a turn is over. The caller's part has `transcript` and `end_of_turn`, the agent's
    part has the others. `names.TURN` says what each leg is.
    """

    type: Literal["turn_taken"] = "turn_taken"
    transcript_seconds: Seconds | None = None
    end_of_turn_seconds: Seconds | None = None
    first_token_seconds: Seconds | None = None
    first_audio_seconds: Seconds | None = None
    heard_seconds: Seconds | None = None


class Interrupted(Message):
    """The caller spoke while the agent did, and the agent stopped."""

    type: Literal["interrupted"] = "interrupted"


class Usage(Message):
    """What a model has used since the last such fact. `input_tokens` includes the cached ones."""

    type: Literal["usage"] = "usage"
    kind: ProviderKind
    provider: Identifier
    model: Identifier
    input_tokens: Count = 0
    cached_tokens: Count = 0
    output_tokens: Count = 0
    characters: Count = 0
    audio_seconds: Seconds = 0.0


class ProviderError(Message):
    """A request to a provider failed. LiveKit tries a recoverable one again."""

    type: Literal["provider_error"] = "provider_error"
    kind: ProviderKind
    provider: Identifier
    recoverable: bool


class Fallback(Message):
    """A provider has failed, and its chain goes on with the next one."""

    type: Literal["fallback"] = "fallback"
    kind: ProviderKind
    provider: Identifier


class Stalled(Message):
    """The call's event loop stood still, and with it the call's audio."""

    type: Literal["stalled"] = "stalled"
    seconds: Seconds


class HandedOver(Message):
    """One agent of the call handed it to another. A task that an agent waits for counts as one."""

    type: Literal["handed_over"] = "handed_over"
    from_agent: Identifier
    to_agent: Identifier


class Said(Message):
    """A line of the conversation, or a tool's arguments and answer; only if VOICEFLEET_ALLOW_PII is
    set. `name` is the tool's.
    """

    type: Literal["said"] = "said"
    by: Literal["caller", "agent", "tool"]
    text: Text
    name: Identifier = ""
    was_interrupted: bool = False


class Spans(Message):
    """Ended spans for the pod to export, as `voicefleet.telemetry.span_wire` writes them."""

    type: Literal["spans"] = "spans"
    data: SpanData


class Kept(Message):
    """A piece of the conversation, as JSON: for the pod to keep, and for the job that goes on with
    a call whose job has died. An `item` of the history by its id, a `tool` that was begun by its
    call's id. Without a key: that a `caller` has been in the room, the `agent` that has the call,
    the `task` that it waits for, the `userdata`, what the caller is saying (`hearing`) and what the
    file itself has `saved`. Without data it is no longer so.
    """

    type: Literal["kept"] = "kept"
    kind: KeptKind
    key: Identifier = ""
    data: Annotated[str, Field(max_length=LONGEST_PIECE)] = Field("", repr=False)


class Resumed(Message):
    """The agent is back in a call whose job had died, so many seconds after its death."""

    type: Literal["resumed"] = "resumed"
    seconds: Seconds


CallFact = (
    Alive
    | Joined
    | TurnTaken
    | Interrupted
    | Usage
    | ProviderError
    | Fallback
    | Stalled
    | HandedOver
    | Said
    | Spans
    | Kept
    | Resumed
)


class Proceed(Message):
    """Load the models now, or after a pause if other processes have just failed to load theirs."""

    type: Literal["proceed"] = "proceed"
    after_seconds: Seconds = 0.0


class EndCall(Message):
    """Say farewell and end the call."""

    type: Literal["end_call"] = "end_call"
    cause: ToldCause


class Resume(Message):
    """The conversation of the call has been told: go on with it. `seconds` have passed since the
    death of the job before. `is_last`: it kills its jobs, so say farewell without the agent file.
    """

    type: Literal["resume"] = "resume"
    seconds: Seconds
    is_last: bool = False


CallEvent = CallStarted | SessionsOpen | CallEnding | CallEnded
Fact = Warming | Warm | PrewarmFailed | CallEvent | CallFact
Order = Proceed | EndCall | Kept | Resume

FACT: TypeAdapter[Fact] = TypeAdapter(Annotated[Fact, Field(discriminator="type")])
ORDER: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="type")])


def line(message: Message) -> bytes:
    """The message as a line of the wire format."""
    return message.model_dump_json().encode() + b"\n"


def shortened(text: str) -> str:
    """The text, cut to the length that a message may hold."""
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"

"""What a call tells of itself while it lasts, to be counted: turns, usage, errors, spans."""

from typing import Annotated, Literal

from pydantic import Field

from worker.telemetry.message import LONGEST_LINE_BYTES, Count, Identifier, Message, Seconds, Text

# Base64, and room in the line for the JSON around it.
SpanData = Annotated[str, Field(max_length=LONGEST_LINE_BYTES - 256)]
ProviderKind = Literal["stt", "llm", "tts", "realtime"]


class Joined(Message):
    """The agent is in the room. Seconds since LiveKit offered the call to the pod."""

    type: Literal["joined"] = "joined"
    seconds: Seconds


class TurnTaken(Message):
    """What is known of a turn when one of its spans ends: the caller's part tells `transcript` and
    `end_of_turn`, the agent's the rest. What a leg is stands in `worker.telemetry.names`.
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
    """What a model has used since it was last told. `input_tokens` includes the cached ones."""

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
    """A request to a provider failed; a recoverable one is tried again."""

    type: Literal["provider_error"] = "provider_error"
    kind: ProviderKind
    provider: Identifier
    recoverable: bool


class Fallback(Message):
    """A chain goes on past this provider, which has failed."""

    type: Literal["fallback"] = "fallback"
    kind: ProviderKind
    provider: Identifier


class Stalled(Message):
    """The call's event loop stood still, and with it the call's audio."""

    type: Literal["stalled"] = "stalled"
    seconds: Seconds


class HandedOver(Message):
    """One agent of the call handed it to another; a task that an agent waits for is one too."""

    type: Literal["handed_over"] = "handed_over"
    from_agent: Identifier
    to_agent: Identifier


class Said(Message):
    """A line of the conversation, or what a tool was asked and answered; told only where
    WORKER_ALLOW_PII lets it be. `name` is the tool's.
    """

    type: Literal["said"] = "said"
    by: Literal["caller", "agent", "tool"]
    text: Text
    name: Identifier = ""
    was_interrupted: bool = False


class Spans(Message):
    """Ended spans for the pod to export, as `worker.telemetry.span_wire` writes them."""

    type: Literal["spans"] = "spans"
    data: SpanData


CallFact = (
    Joined
    | TurnTaken
    | Interrupted
    | Usage
    | ProviderError
    | Fallback
    | Stalled
    | HandedOver
    | Said
    | Spans
)

"""Which attributes of LiveKit's spans hold what a caller said or is, and how LiveKit removes them.

`telemetry.pii` and the list of all names in `telemetry.trace_types` are LiveKit's own
(livekit-agents 1.8.9). LiveKit marks private attributes by `pii` in the name; the two sets below
are those that it leaves unmarked and that must not be exported either.
"""

from livekit.agents.telemetry import pii, trace_types
from opentelemetry.sdk.trace import ReadableSpan

# Free text, or opaque text that an update of LiveKit may put words into.
FREE_TEXT = frozenset(
    {
        trace_types.ATTR_EXCEPTION_MESSAGE,
        trace_types.ATTR_EXCEPTION_TRACE,
        trace_types.ATTR_AMD_REASON,
        # Whatever an agent file passes to shutdown(); the pod's span has the cause.
        trace_types.ATTR_SHUTDOWN_REASON,
        trace_types.ATTR_GEN_AI_EVALUATION_NAME,
        trace_types.ATTR_GEN_AI_EVALUATION_SCORE_LABEL,
        trace_types.ATTR_LLM_METRICS,
        trace_types.ATTR_TTS_METRICS,
        trace_types.ATTR_REALTIME_MODEL_METRICS,
        trace_types.ATTR_STT_EVENTS,
    }
)

# Of no use without the content that is dropped, or to one product alone.
USELESS = frozenset(
    {
        trace_types.ATTR_INPUT_DELTA,
        trace_types.ATTR_INPUT_BASE_SPAN_ID,
        trace_types.ATTR_INPUT_DROPPED_FROM_BASE,
        trace_types.ATTR_LANGFUSE_COMPLETION_START_TIME,
    }
)


def is_marked_private(key: str) -> bool:
    """Whether LiveKit itself marks this attribute as private."""
    return pii.is_pii_attribute(key)


def redacted(span: ReadableSpan) -> ReadableSpan:
    """The span without what LiveKit marks as private, as LiveKit itself would export it."""
    return pii.redact(span)


def attribute_names() -> frozenset[str]:
    """Every attribute that LiveKit may put on a span."""
    return frozenset(value for name, value in vars(trace_types).items() if name.startswith("ATTR_"))

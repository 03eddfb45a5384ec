"""Which attributes of a trace are kept for good: what the collector's allow-list must be
(`ops/collector/config.yaml`; `tests/ops` compares them). Everything else is dropped there.
"""

import re

from livekit.agents.telemetry import pii, trace_types
from opentelemetry.sdk.trace import ReadableSpan

from voicefleet.telemetry.names import SpanAttribute

MARK = "pii."

# Identities are chosen by whoever makes the token, and LiveKit's SIP makes them of phone numbers;
# SIP headers and attributes carry numbers too. The last word tells what a key holds: a
# `transcript_delay` is a number of seconds.
LAST_WORDS = frozenset({"identity", "phone", "transcript", "participant", "email"})
UNMARKED_PREFIXES = ("lk.sip.", "sip.")
# Whose room it is is often in its name; the room's id says as much to an operator.
UNMARKED_KEYS = frozenset({"room", "room_name", "metadata", "user_input", "text"})

BETWEEN_WORDS = re.compile(r"[._-]|(?<=[a-z])(?=[A-Z])")


def is_private(key: str) -> bool:
    """Whether what stands under this key may tell who the caller is or what was said."""
    words = [word.lower() for word in BETWEEN_WORDS.split(key)]
    return (
        pii.is_pii_attribute(key)
        or key in UNMARKED_KEYS
        or key.startswith(UNMARKED_PREFIXES)
        or words[-1] in LAST_WORDS
        or "phone" in words
    )


def without_private(span: ReadableSpan) -> ReadableSpan:
    """The span without what LiveKit left unmarked; the same one where there is nothing of it."""
    attributes = span.attributes or {}
    if not any(is_private(key) for key in attributes):
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={key: value for key, value in attributes.items() if not is_private(key)},
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


# Not private by their names, and yet free text, or opaque text that an update may put words into.
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

# OpenTelemetry's own words for who traces (semantic conventions, resource).
RESOURCE = (
    "service.name",
    "service.namespace",
    "service.version",
    "service.instance.id",
    "deployment.environment.name",
    "cloud.region",
    "cloud.availability_zone",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.node.name",
    "k8s.deployment.name",
    "k8s.pod.name",
    "k8s.pod.uid",
    "telemetry.sdk.language",
    "telemetry.sdk.name",
    "telemetry.sdk.version",
)


def exported_attributes() -> list[str]:
    """All of them, sorted: ours, LiveKit's that say nothing of a caller, and the resource's."""
    livekits = {value for name, value in vars(trace_types).items() if name.startswith("ATTR_")}
    harmless = {key for key in livekits - FREE_TEXT - USELESS if not is_private(key)}
    return sorted(harmless | {attribute.value for attribute in SpanAttribute} | set(RESOURCE))

"""Which attributes of a trace are kept for good: what the collector's allow-list must be
(`ops/collector/config.yaml`; `tests/ops` compares them). Everything else is dropped there.
"""

from livekit.agents.telemetry import trace_types

from worker.telemetry.names import SpanAttribute
from worker.telemetry.private import is_private

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


def kept_attributes() -> list[str]:
    """All of them, sorted: ours, LiveKit's that say nothing of a caller, and the resource's."""
    livekits = {value for name, value in vars(trace_types).items() if name.startswith("ATTR_")}
    harmless = {key for key in livekits - FREE_TEXT - USELESS if not is_private(key)}
    return sorted(harmless | {attribute.value for attribute in SpanAttribute} | set(RESOURCE))

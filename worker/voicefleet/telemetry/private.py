"""Which fields of logs and attributes of spans may tell who a caller is or what was said.

Private keys are removed from both before they leave the process, unless VOICEFLEET_ALLOW_PII is
set. `exported_attributes` is the allow-list that the collector in `ops/collector/config.yaml` has
as well (`tests/ops` compares them); it drops everything else.
"""

import re

from opentelemetry.sdk.trace import ReadableSpan

from voicefleet.livekit_compat import pii
from voicefleet.telemetry.names import SpanAttribute

# A key with this in it is private; where private fields are allowed, they are written under it.
MARK = "pii."

# The keys below are private although LiveKit does not mark them. The last word of a key tells what
# it holds: a `transcript_delay` is a number of seconds. Whoever makes a token chooses the identity
# in it, and LiveKit's SIP makes it of the phone number.
PRIVATE_LAST_WORDS = frozenset({"identity", "phone", "transcript", "participant", "email"})
# SIP headers and attributes carry phone numbers too.
PRIVATE_PREFIXES = ("lk.sip.", "sip.")
# The name of a room often names its caller; an operator can use the room's id instead.
PRIVATE_KEYS = frozenset({"room", "room_name", "metadata", "user_input", "text"})

# OpenTelemetry's attributes of the process that traces (semantic conventions, resource).
RESOURCE_ATTRIBUTES = (
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

BETWEEN_WORDS = re.compile(r"[._-]|(?<=[a-z])(?=[A-Z])")


def is_private(key: str) -> bool:
    """Whether the value of this key may tell who the caller is or what was said."""
    words = [word.lower() for word in BETWEEN_WORDS.split(key)]
    return (
        pii.is_marked_private(key)
        or key in PRIVATE_KEYS
        or key.startswith(PRIVATE_PREFIXES)
        or words[-1] in PRIVATE_LAST_WORDS
        or "phone" in words
    )


def without_private(span: ReadableSpan) -> ReadableSpan:
    """The span without its private attributes; the span itself if it has none."""
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


def exported_attributes() -> list[str]:
    """All of them, sorted: ours, LiveKit's that tell nothing of a caller, and the resource's."""
    livekits = pii.attribute_names() - pii.FREE_TEXT - pii.USELESS
    public = {key for key in livekits if not is_private(key)}
    ours = {attribute.value for attribute in SpanAttribute}
    return sorted(public | ours | set(RESOURCE_ATTRIBUTES))

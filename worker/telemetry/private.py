"""What a caller said, is called or dials from: which keys hold it, in spans and in logs.

LiveKit marks its own with a `pii` segment, and drops those from spans itself where it is told to
(livekit-agents 1.8.9, telemetry/pii.py). What it leaves unmarked is named here.
"""

import re

from livekit.agents.telemetry import pii
from opentelemetry.sdk.trace import ReadableSpan

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

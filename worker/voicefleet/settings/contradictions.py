"""Relations between the values of one group of settings that cannot work, each with its fix."""

import math
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlparse

from voicefleet.settings.livekit import LIVEKIT_TARGET_LOAD, LiveKit
from voicefleet.settings.pod import Pod
from voicefleet.settings.providers import (
    BUILT_IN,
    CHAIN_SETTING,
    OPTIONS_SETTING,
    Providers,
    unknown_provider,
)
from voicefleet.settings.telemetry import Telemetry

Violations = Iterator[tuple[str, str]]


def livekit_contradictions(livekit: LiveKit) -> Violations:
    if livekit.url is None:
        return
    address = urlparse(livekit.url)
    if address.scheme not in {"ws", "wss", "http", "https"} or not address.hostname:
        yield (
            f"LIVEKIT_URL is {livekit.url!r}, which is no address of LiveKit",
            "write it as ws://host:7880 or wss://your-project.livekit.cloud",
        )


def pod_contradictions(pod: Pod) -> Violations:
    if pod.load_threshold > LIVEKIT_TARGET_LOAD:
        yield (
            f"VOICEFLEET_LOAD_THRESHOLD is {pod.load_threshold}, above LiveKit's own limit"
            f" of {LIVEKIT_TARGET_LOAD}, at which it stops offering calls",
            f"set it to {LIVEKIT_TARGET_LOAD} or less; to take more calls raise VOICEFLEET_SLOTS",
        )
    limit = pod.call_memory_limit_bytes
    if limit is not None and limit <= pod.call_memory_warn_bytes:
        yield (
            "VOICEFLEET_CALL_MEMORY_LIMIT_BYTES is not above VOICEFLEET_CALL_MEMORY_WARN_BYTES,"
            " so a call would end without a warning",
            "raise the limit or lower the warning",
        )
    memory, slots = pod.memory_limit_bytes, pod.slots
    if limit is not None and memory is not None and slots is not None and slots * limit > memory:
        yield (
            f"{slots} slots of VOICEFLEET_CALL_MEMORY_LIMIT_BYTES={limit} are more than the pod's"
            f" memory of {memory} bytes, so a leak of one would end every call",
            f"lower VOICEFLEET_SLOTS, or the limit to {memory // slots} or less, or raise the"
            " memory",
        )
    grace = pod.grace_period_seconds
    if grace is not None and pod.longest_stop_seconds > grace:
        yield (
            f"a stop takes up to {pod.longest_stop_seconds:.0f} s"
            f" (VOICEFLEET_DRAIN_TIMEOUT_SECONDS={pod.drain_timeout_seconds}, farewells,"
            f" session-end handlers, shutdown callbacks, the close), and the grace period is"
            f" {grace} s",
            f"raise terminationGracePeriodSeconds to {math.ceil(pod.longest_stop_seconds)},"
            " or lower the drain",
        )


def provider_contradictions(providers: Providers) -> Violations:
    if providers.turn_detection == "stt" and any(m.provider == "openai" for m in providers.stt):
        yield (
            "VOICEFLEET_TURN_DETECTION is stt, but the openai STT does not say when a turn ends",
            "use VOICEFLEET_STT=deepgram, or another VOICEFLEET_TURN_DETECTION",
        )
    # Options of a provider that no chain names now may stay: a chain is changed in an outage.
    for part in BUILT_IN:
        for name in providers.options(part).providers():
            if reason := unknown_provider(part, name):
                yield (
                    f"{OPTIONS_SETTING[part]} has options for {name!r}: {reason}",
                    f"name a provider there as {CHAIN_SETTING[part]} does, or take it out",
                )
    shortest, longest = providers.turn_min_delay_seconds, providers.turn_max_delay_seconds
    if shortest is not None and longest is not None and shortest > longest:
        yield (
            f"VOICEFLEET_TURN_MIN_DELAY_SECONDS is {shortest}, above the max of {longest}",
            "lower VOICEFLEET_TURN_MIN_DELAY_SECONDS or raise VOICEFLEET_TURN_MAX_DELAY_SECONDS",
        )


def telemetry_contradictions(telemetry: Telemetry) -> Violations:
    if telemetry.report_url is None:
        return
    address = urlparse(telemetry.report_url)
    if address.scheme not in {"http", "https"} or not address.hostname:
        yield (
            f"VOICEFLEET_REPORT_URL is {telemetry.report_url!r}, which is no address to post to",
            "write it as http://host/path or https://host/path",
        )


CONTRADICTIONS: dict[str, Callable[[Any], Violations]] = {
    "livekit": livekit_contradictions,
    "pod": pod_contradictions,
    "providers": provider_contradictions,
    "telemetry": telemetry_contradictions,
}

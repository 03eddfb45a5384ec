"""The part of the fleet's dashboard that is about pods that go and come: drains and rollouts."""

from ops.dashboards.frame import Panels
from ops.dashboards.panel import (
    COUNT,
    RATIO,
    SECONDS,
    THIRD,
    TIMES_A_MINUTE,
    Ask,
    Limits,
    Words,
    lines,
)
from ops.dashboards.query import draining, of, per_minute
from ops.dashboards.tables import Column, rows
from voicefleet.telemetry import names

POD = "{{pod}}"


def drains() -> Panels:
    began, ends = of(names.DRAIN_BEGAN), of(names.DRAIN_DEADLINE)
    deadline = f"({ends} > 0) - time()"
    return (
        lines(
            Words(
                "Pods by phase",
                "Starting, ready, draining, stopped; draining for long is a long call, not a hang.",
                COUNT,
            ),
            Ask(f"sum by (phase) ({of(names.PHASE)})", "{{phase}}"),
            stacked=True,
        ),
        lines(
            Words(
                "Calls that drains wait for",
                "A healthy drain comes down; one that stays up has a long call.",
                COUNT,
            ),
            Ask(draining(of(names.DRAIN_CALLS_LEFT)), POD),
        ),
        lines(
            Words(
                "Time to the deadline",
                "How long a draining pod's calls may still go on before they hear a farewell.",
                SECONDS,
            ),
            Ask(deadline, POD),
        ),
        lines(
            Words(
                "Time used by drains",
                "Share of a drain's time that is over; at 100 % its calls hear a farewell.",
                RATIO,
            ),
            Ask(f"(time() - {began}) / (({ends} > 0) - {began})", POD),
            limits=Limits(warn=0.8, alarm=1.0),
        ),
        lines(
            Words(
                "Oldest call",
                "How long each pod's oldest call has been on; a drain waits for it.",
                SECONDS,
            ),
            Ask(of(names.OLDEST_CALL), POD),
        ),
        rows(
            Words("Pods", "Each pod as it is at the end of the time shown.", COUNT),
            ("pod",),
            (
                Column("calls", f"sum by (pod) ({of(names.CALLS_ACTIVE)})"),
                Column("finishing", f"sum by (pod) ({of(names.CALLS_FINISHING)})"),
                Column("slots", f"sum by (pod) ({of(names.SLOTS)})"),
                Column("load", f"max by (pod) ({of(names.LOAD_REPORTED)})", RATIO),
                Column("oldest call", f"max by (pod) ({of(names.OLDEST_CALL)})", SECONDS),
            ),
            width=THIRD,
        ),
    )


def rollouts() -> Panels:
    return (
        lines(
            Words(
                "Pods by version",
                "How far a rollout is: pods of each version, those that drain included.",
                COUNT,
            ),
            Ask(
                f"count by (version, livekit_agents_version) ({of(names.INFO)})",
                "{{version}} on livekit-agents {{livekit_agents_version}}",
            ),
            stacked=True,
        ),
        lines(
            Words(
                "Reconnects to LiveKit",
                "Times that a pod registered with LiveKit again; calls go on meanwhile.",
                TIMES_A_MINUTE,
            ),
            Ask(per_minute(of(names.RECONNECTS), by="pod"), POD),
        ),
        lines(
            Words(
                "Processes that failed to load",
                "Models or the agent file did not load: the pod refuses calls until one does.",
                TIMES_A_MINUTE,
            ),
            Ask(per_minute(of(names.PREWARM_FAILURES), by="pod"), POD),
        ),
    )

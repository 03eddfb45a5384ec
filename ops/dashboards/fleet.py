"""The fleet: is there room for the next call, what makes pods full, how far are drains."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from ops.dashboards.frame import Panels, framed
from ops.dashboards.panel import (
    BYTES,
    CALLS_A_MINUTE,
    COUNT,
    HALF,
    RATIO,
    SECONDS,
    TIMES_A_MINUTE,
    Ask,
    Column,
    Limits,
    Words,
    lines,
    number,
    rows,
)
from ops.dashboards.query import draining, of, per_minute, rate, recorded, total
from worker.telemetry import names

FREE = f"sum({recorded('voicefleet:slots_free:sum')})"
READY = f"sum({recorded('voicefleet:slots_ready:sum')})"
ON = f"sum({recorded('voicefleet:calls:sum')})"
LEAVING = f"sum({recorded('voicefleet:calls_draining:sum')})"
REFUSED = of(names.CALLS, 'outcome="refused"')
POD = "{{pod}}"


def build() -> Dashboard:
    return framed(
        "fleet",
        "Room for the next call, load, drains and rollouts of LiveKit agent fleets.",
        {
            "Now": now(),
            "Capacity": capacity(),
            "Load": load(),
            "Drains": drains(),
            "Rollouts and LiveKit": rollouts(),
        },
    )


def now() -> Panels:
    def pods(phase: str) -> Ask:
        matcher = f'phase="{phase}"'
        return Ask(f"sum({of(names.PHASE, matcher)})")

    disconnected = f"sum(1 - {of(names.LIVEKIT_CONNECTED)})"
    return (
        number(
            Words("Free slots", "Calls that ready pods can take; at 0 the next one fails.", COUNT),
            Ask(FREE),
            Limits(warn=1, alarm=1, upwards=False),
        ),
        number(Words("Calls on", "Calls on pods that take more.", COUNT), Ask(ON)),
        number(Words("Pods ready", "Pods that take calls.", COUNT), pods("ready")),
        number(
            Words("Pods draining", "Pods told to stop, which let their calls end.", COUNT),
            pods("draining"),
        ),
        number(
            Words("Without LiveKit", "Pods whose connection to LiveKit is down now.", COUNT),
            Ask(disconnected),
            Limits(warn=1, alarm=2),
        ),
        number(
            Words("Refused", "Offers that a pod did not take, in the time shown.", COUNT),
            Ask(total(REFUSED)),
            Limits(warn=1, alarm=10),
            decimals=0,
        ),
    )


def capacity() -> Panels:
    return (
        lines(
            Words(
                "Calls and slots",
                "Calls beside the slots of ready pods; a pod that drains has calls and no slots.",
                COUNT,
            ),
            Ask(ON, "calls"),
            Ask(LEAVING, "calls on draining pods"),
            Ask(READY, "slots of ready pods"),
        ),
        lines(
            Words(
                "Slots in use",
                "Share of ready pods' slots with a call; the chart's autoscaler adds pods at 75 %.",
                RATIO,
            ),
            Ask(f"{ON} / {READY}", "in use"),
            limits=Limits(warn=0.75, alarm=0.95),
        ),
        lines(
            Words(
                "Offers",
                "Offers that pods took, and refused, by cause; LiveKit may ask another pod then.",
                CALLS_A_MINUTE,
            ),
            Ask(f"60 * sum({rate(of(names.CALLS_TAKEN))})", "taken"),
            Ask(per_minute(REFUSED, by="cause"), "refused: {{cause}}"),
        ),
    )


def load() -> Panels:
    return (
        lines(
            Words(
                "Load told to LiveKit",
                "LiveKit offers nothing to a pod at 0.7 or more, whatever else it says.",
                RATIO,
            ),
            Ask(of(names.LOAD_REPORTED), POD),
            limits=Limits(warn=0.7, alarm=0.7),
        ),
        lines(
            Words(
                "Fullest by part",
                "The fullest pod by slots, own CPU and own memory: what makes it full.",
                RATIO,
            ),
            Ask(f"max by (part) ({of(names.LOAD)})", "{{part}}"),
        ),
        lines(
            Words(
                "Largest call",
                "Memory of the largest call of each pod; one that passes its limit is ended alone.",
                BYTES,
            ),
            Ask(f"max by (pod) ({of(names.CALL_MEMORY)})", POD),
        ),
        lines(
            Words(
                "Warm processes",
                "Processes that wait, models loaded, for a call; fewer than free slots start late.",
                COUNT,
            ),
            Ask(of(names.WARM_PROCESSES), POD),
        ),
        lines(
            Words(
                "Event-loop stalls",
                "Times that an event loop stood still for 0.1 s or more: callers hear a gap.",
                TIMES_A_MINUTE,
            ),
            Ask(per_minute(of(names.STALLS), by="process"), "{{process}}"),
        ),
        lines(
            Words(
                "Lines not understood",
                "Lines of a call that its pod did not understand: none, or an agent file writes.",
                TIMES_A_MINUTE,
            ),
            Ask(per_minute(of(names.EVENTS_REJECTED), by="pod"), POD),
        ),
    )


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
            width=HALF,
        ),
        rows(
            Words("Pods", "Each pod as it is at the end of the time shown.", COUNT),
            ("pod",),
            (
                Column("calls", f"sum by (pod) ({of(names.CALLS_ACTIVE)})"),
                Column("slots", f"sum by (pod) ({of(names.SLOTS)})"),
                Column("load", f"max by (pod) ({of(names.LOAD_REPORTED)})", RATIO),
                Column("oldest call", f"max by (pod) ({of(names.OLDEST_CALL)})", SECONDS),
            ),
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

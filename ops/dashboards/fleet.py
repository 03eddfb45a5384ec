"""The fleet: is there room for the next call, what makes pods full, how far are drains."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from ops.dashboards.changes import drains, rollouts
from ops.dashboards.frame import Panels, framed
from ops.dashboards.panel import (
    BYTES,
    CALLS_A_MINUTE,
    COUNT,
    RATIO,
    TIMES_A_MINUTE,
    Ask,
    Limits,
    Words,
    lines,
    number,
)
from ops.dashboards.query import of, per_minute, rate, recorded, total
from voicefleet.telemetry import names

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

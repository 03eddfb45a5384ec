"""The calls: how they ended, how fast the agent was there, and where the time of a turn goes."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from ops.dashboards.frame import Panels, framed
from ops.dashboards.panel import (
    CALLS_A_MINUTE,
    COUNT,
    HALF,
    RATIO,
    SECONDS,
    TIMES_A_MINUTE,
    Ask,
    Limits,
    Words,
    lines,
    number,
    spread,
)
from ops.dashboards.query import LATELY, SHOWN, of, part, per_minute, quantile, rate, total
from ops.dashboards.turns import HEARD, slowest, turns
from voicefleet.telemetry import names
from voicefleet.telemetry.names import Metric

# Refused ones never were calls; another pod may have taken them.
ENDED = of(names.CALLS, 'outcome!="refused"')
BROKEN = of(names.CALLS, 'outcome="failed"')
DRAINED = of(names.CALLS, 'cause="drained"')
ANSWERED_SECONDS = 3.0


def build() -> Dashboard:
    return framed(
        "calls",
        "Outcomes, joins and turns of calls; each call's own numbers are in its report and trace.",
        {
            "In the time shown": summary(),
            "Outcomes": outcomes(),
            "Deaths": deaths(),
            "Joins": joins(),
            "Turns": turns(),
            "The slowest": slowest(),
        },
    )


def summary() -> Panels:
    in_time = total(part(names.JOIN, "bucket", f'le="{ANSWERED_SECONDS}"'))
    lost = f"({total(BROKEN)} + {total(DRAINED)})"
    return (
        number(Words("Calls", "Calls that ended.", COUNT), Ask(total(ENDED)), decimals=0),
        number(
            Words(
                "Joined in 3 s",
                "Share of joins within 3 s of LiveKit's offer. Calls that were never joined are in"
                " VoicefleetCallsNotAnswered, and not here.",
                RATIO,
            ),
            Ask(f"{in_time} / {total(part(names.JOIN, 'count'))}"),
            Limits(warn=0.999, alarm=0.99, upwards=False),
            decimals=2,
        ),
        number(
            Words(
                "Not dropped",
                "Share of ended calls that neither broke nor ran into a drain's deadline. Those"
                " that went with their pod are in VoicefleetCallsDropped, and not here.",
                RATIO,
            ),
            Ask(f"1 - {lost} / {total(ENDED)}"),
            Limits(warn=0.9995, alarm=0.995, upwards=False),
            decimals=2,
        ),
        number(
            Words("Answer, 95 %", "95 of 100 turns were answered faster than this.", SECONDS),
            Ask(quantile(0.95, names.TURN, HEARD, over=SHOWN)),
            Limits(warn=1.5, alarm=3.0),
            decimals=2,
        ),
        number(
            Words("Length, median", "Half of the calls were shorter than this.", SECONDS),
            Ask(quantile(0.5, names.CALL_LENGTH, over=SHOWN)),
            decimals=0,
        ),
        number(
            Words("Interrupted", "Interruptions of the agent for each answer it gave.", RATIO),
            Ask(
                f"{total(of(names.INTERRUPTIONS))} / {total(part(names.TURN, 'count', HEARD))}",
            ),
            decimals=0,
        ),
    )


def outcomes() -> Panels:
    wrong = of(names.CALLS, 'outcome=~"failed|cut_short"')
    return (
        lines(
            Words(
                "Calls by outcome",
                "Completed: somebody hung up. Cut short: the pod ended it. Failed: it broke.",
                CALLS_A_MINUTE,
            ),
            Ask(per_minute(ENDED, by="outcome"), "{{outcome}}"),
            stacked=True,
        ),
        lines(
            Words(
                "Failed and cut short, by cause",
                "Why calls ended that nobody hung up; each has a trace and a report.",
                CALLS_A_MINUTE,
            ),
            Ask(per_minute(wrong, by="cause"), "{{cause}}"),
        ),
        lines(
            Words(
                "Length of calls",
                "A drain takes as long as the longest; a median that falls means people give up.",
                SECONDS,
            ),
            *slowest_of(names.CALL_LENGTH, 0.9),
        ),
        lines(
            Words(
                "Handovers",
                "Times that one agent handed its call to another; two that swap it go in circles.",
                TIMES_A_MINUTE,
            ),
            # Most agent files have one agent: no series, and that is none.
            Ask(f"60 * sum({rate(of(names.HANDOVERS))}) or vector(0)", "handovers"),
        ),
    )


def deaths() -> Panels:
    return (
        lines(
            Words(
                "Deaths of processes in calls",
                "By what would have ended the call. The next process goes on with it.",
                TIMES_A_MINUTE,
            ),
            Ask(per_minute(of(names.DEATHS), by="cause"), "{{cause}}"),
        ),
        lines(
            Words(
                "Calls brought back, and not",
                "Those that are not are in the outcomes above; each has its reason.",
                TIMES_A_MINUTE,
            ),
            Ask(f"60 * sum({rate(of(names.RESUMES))})", "brought back"),
            Ask(per_minute(of(names.NOT_RESUMED), by="reason"), "{{reason}}"),
        ),
        lines(
            Words(
                "Silence at a death",
                "From the death of a process until the agent is back in its call.",
                SECONDS,
            ),
            *slowest_of(names.RESUME_SILENCE, 0.95),
            limits=Limits(warn=1.0, alarm=3.0),
        ),
    )


def slowest_of(metric: Metric, ratio: float) -> list[Ask]:
    """What half of them stay below, this share of them, and 99 of 100."""
    shares = ((0.5, "half"), (ratio, f"{100 * ratio:g} %"), (0.99, "99 %"))
    return [Ask(quantile(share, metric), name) for share, name in shares]


def joins() -> Panels:
    return (
        lines(
            Words(
                "Time to join",
                "From LiveKit's offer to the agent in the room; LiveKit gives up on a pod at 3 s.",
                SECONDS,
            ),
            *slowest_of(names.JOIN, 0.95),
            width=HALF,
            limits=Limits(warn=1.0, alarm=ANSWERED_SECONDS),
        ),
        spread(
            Words("Joins", "How many joins took how long; darker is more.", SECONDS),
            Ask(f"sum by (le) (increase({part(names.JOIN, 'bucket')}[{LATELY}]))", "{{le}}"),
        ),
    )

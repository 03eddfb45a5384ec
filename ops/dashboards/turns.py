"""The part of the calls' dashboard that is about turns: their legs, and the slowest of them."""

from ops.dashboards.frame import Panels
from ops.dashboards.panel import (
    COUNT,
    RATIO,
    SECONDS,
    Ask,
    Words,
    lines,
    spread,
)
from ops.dashboards.query import LATELY, SHOWN, of, part, quantile, total
from ops.dashboards.tables import Column, rows
from voicefleet.telemetry import names

HEARD = 'leg="heard"'
SLOW_SECONDS = 2.0


def turns() -> Panels:
    def legs(ratio: float) -> Ask:
        return Ask(quantile(ratio, names.TURN, by="leg"), "{{leg}}")

    return (
        lines(
            Words(
                "Legs of a turn, median",
                "Transcript, end of turn and heard count from the end of the caller's speech.",
                SECONDS,
            ),
            legs(0.5),
        ),
        lines(
            Words(
                "Legs of a turn, 95 %",
                "The leg that rises with `heard` is the one that is slow.",
                SECONDS,
            ),
            legs(0.95),
        ),
        lines(
            Words(
                "Interruptions",
                "Interruptions of the agent for each answer; many mean slow or long answers.",
                RATIO,
            ),
            Ask(
                f"sum(rate({of(names.INTERRUPTIONS)}[{LATELY}]))"
                f" / (sum(rate({part(names.TURN, 'count', HEARD)}[{LATELY}])) > 0)",
                "for each answer",
            ),
        ),
    )


def slowest() -> Panels:
    within = total(part(names.TURN, "bucket", HEARD, f'le="{SLOW_SECONDS}"'), by="pod")
    answers = total(part(names.TURN, "count", HEARD), by="pod")
    return (
        spread(
            Words(
                "Answers", "How many answers took how long; the upper rows are the slow.", SECONDS
            ),
            Ask(f"sum by (le) (increase({part(names.TURN, 'bucket', HEARD)}[{LATELY}]))", "{{le}}"),
        ),
        rows(
            Words(
                "Slowest pods",
                "The ten pods whose answers take longest; one alone has a bad node or neighbour.",
                SECONDS,
            ),
            ("pod",),
            (
                Column(
                    "99 % of answers",
                    f"topk(10, {quantile(0.99, names.TURN, HEARD, by='pod', over=SHOWN)})",
                ),
                Column("over 2 s", f"1 - {within} / ({answers} > 0)", RATIO),
                Column("answers", f"{answers} > 0", COUNT),
            ),
        ),
    )

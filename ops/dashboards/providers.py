"""The providers: how fast and how sound they are, how much is used, and what that costs you."""

from grafana_foundation_sdk.builders.dashboard import TextBoxVariable
from grafana_foundation_sdk.models.dashboard import Dashboard

from ops.dashboards.cost import PRICES, cost, usage
from ops.dashboards.frame import Panels, framed
from ops.dashboards.panel import (
    COUNT,
    RATIO,
    SECONDS,
    TIMES_A_MINUTE,
    Ask,
    Limits,
    Words,
    lines,
    number,
)
from ops.dashboards.query import SHOWN, of, per_minute, quantile, total
from voicefleet.telemetry import names
from voicefleet.telemetry.names import Metric

INPUT, CACHED = (of(names.TOKENS, f'type="{t}"') for t in ("input", "cached"))


def build() -> Dashboard:
    return framed(
        "providers",
        "Latency, errors, fallbacks, usage and cost of who hears, thinks and speaks.",
        {
            "In the time shown": summary(),
            "Latency": latency(),
            "Errors and fallbacks": errors(),
            "Usage": usage(),
            "Cost, at your prices": cost(),
        },
        [
            TextBoxVariable(name).label(f"Price of {what}").default_value("0")
            for name, what in PRICES.items()
        ],
    )


def summary() -> Panels:
    def leg(name: str) -> Ask:
        return Ask(quantile(0.95, names.TURN, f'leg="{name}"', over=SHOWN))

    return (
        number(
            Words("Transcript, 95 %", "Speech to text: from its end to its transcript.", SECONDS),
            leg("transcript"),
            decimals=2,
        ),
        number(
            Words("First token, 95 %", "LLM: from the request to its first token.", SECONDS),
            leg("first_token"),
            decimals=2,
        ),
        number(
            Words(
                "First audio, 95 %", "Text to speech: from the text to its first audio.", SECONDS
            ),
            leg("first_audio"),
            decimals=2,
        ),
        number(
            Words("Errors", "Requests to a provider that failed.", COUNT),
            Ask(total(of(names.PROVIDER_ERRORS))),
            Limits(warn=1, alarm=10),
            decimals=0,
        ),
        number(
            Words("Fallbacks", "Times that a chain went on past a provider.", COUNT),
            Ask(total(of(names.PROVIDER_FALLBACKS))),
            Limits(warn=1, alarm=10),
            decimals=0,
        ),
        number(
            Words("Cached input", "Share of input tokens that the LLM had in its cache.", RATIO),
            Ask(f"({total(CACHED)} or vector(0)) / {total(INPUT)}"),
            decimals=0,
        ),
    )


def latency() -> Panels:
    def leg(name: str) -> tuple[Ask, ...]:
        ratios = ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))
        return tuple(Ask(quantile(r, names.TURN, f'leg="{name}"'), text) for r, text in ratios)

    return (
        lines(
            Words(
                "Who hears: transcript",
                "From the end of the caller's speech to its transcript, over all STT providers.",
                SECONDS,
            ),
            *leg("transcript"),
        ),
        lines(
            Words(
                "Who thinks: first token",
                "From the request to the LLM's first token, retries and fallbacks included.",
                SECONDS,
            ),
            *leg("first_token"),
        ),
        lines(
            Words(
                "Who speaks: first audio",
                "From the text to the first audio of the TTS, retries and fallbacks included.",
                SECONDS,
            ),
            *leg("first_audio"),
        ),
    )


def errors() -> Panels:
    def growth(metric: Metric, *matchers: str) -> Ask:
        return Ask(per_minute(of(metric, *matchers), by="kind, provider"), "{{kind}} {{provider}}")

    return (
        lines(
            Words("Errors", "Requests that failed; most are tried again.", TIMES_A_MINUTE),
            growth(names.PROVIDER_ERRORS),
        ),
        lines(
            Words(
                "Errors that are not tried again",
                "Requests that failed for good: the call goes on without an answer, or ends.",
                TIMES_A_MINUTE,
            ),
            growth(names.PROVIDER_ERRORS, 'recoverable="false"'),
        ),
        lines(
            Words(
                "Fallbacks",
                "Times that a chain went on past this provider: its calls are served by the next.",
                TIMES_A_MINUTE,
            ),
            growth(names.PROVIDER_FALLBACKS),
        ),
    )

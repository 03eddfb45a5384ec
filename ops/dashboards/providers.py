"""The providers: how fast and how sound they are, how much is used, and what that costs you."""

from grafana_foundation_sdk.builders.dashboard import TextBoxVariable
from grafana_foundation_sdk.models.dashboard import Dashboard

from ops.dashboards.frame import Panels, framed
from ops.dashboards.panel import (
    COUNT,
    HALF,
    RATIO,
    SECONDS,
    TIMES_A_MINUTE,
    WHOLE,
    Ask,
    Column,
    Limits,
    Words,
    lines,
    number,
    rows,
)
from ops.dashboards.query import SHOWN, of, per_minute, quantile, rate, total
from worker.telemetry import names
from worker.telemetry.names import Metric

MODEL = "{{provider}} {{model}}"
INPUT, CACHED, OUTPUT = (of(names.TOKENS, f'type="{t}"') for t in ("input", "cached", "output"))
HEARD_AUDIO = of(names.AUDIO, 'kind="stt"')
CHARACTERS = of(names.CHARACTERS)
ENDED = of(names.CALLS, 'outcome!="refused"')
MONEY = "none"

# Variable → what it is the price of. 0 until you say: prices are your contract's.
PRICES = {
    "price_input": "1M input tokens",
    "price_cached": "1M cached input tokens",
    "price_output": "1M output tokens",
    "price_characters": "1M characters spoken",
    "price_audio": "1 h of audio heard",
}


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
    return (
        lines(
            Words(
                "Errors",
                "Requests that failed; a recoverable one is tried again, any other ends the call.",
                TIMES_A_MINUTE,
            ),
            Ask(
                per_minute(of(names.PROVIDER_ERRORS), by="kind, provider, recoverable"),
                "{{kind}} {{provider}}, recoverable {{recoverable}}",
            ),
            width=HALF,
        ),
        lines(
            Words(
                "Fallbacks",
                "Times that a chain went on past this provider: its calls are served by the next.",
                TIMES_A_MINUTE,
            ),
            Ask(
                per_minute(of(names.PROVIDER_FALLBACKS), by="kind, provider"),
                "{{kind}} {{provider}}",
            ),
            width=HALF,
        ),
    )


def usage() -> Panels:
    def used(metric: Metric, *labels: str) -> str:
        return per_minute(of(metric), by=", ".join(("provider", "model", *labels)))

    return (
        lines(
            Words(
                "Tokens",
                "Tokens in and out of the LLM; cached ones are also among the input.",
                TIMES_A_MINUTE,
            ),
            Ask(used(names.TOKENS, "type"), MODEL + " {{type}}"),
        ),
        lines(
            Words("Characters spoken", "Characters that were turned into speech.", TIMES_A_MINUTE),
            Ask(used(names.CHARACTERS), MODEL),
        ),
        lines(
            Words(
                "Audio",
                "Seconds of audio heard (stt) and spoken (tts) in each second: calls at once.",
                RATIO,
            ),
            Ask(f"sum by (provider, model, kind) ({rate(of(names.AUDIO))})", MODEL + " {{kind}}"),
        ),
    )


def cost() -> Panels:
    tokens = (
        f"(({total(INPUT)} - ({total(CACHED)} or vector(0))) * $price_input"
        f" + ({total(CACHED)} or vector(0)) * $price_cached"
        f" + {total(OUTPUT)} * $price_output) / 1e6"
    )
    spoken = f"{total(CHARACTERS)} * $price_characters / 1e6"
    heard = f"{total(HEARD_AUDIO)} * $price_audio / 3600"
    everything = f"({tokens}) + ({spoken}) + ({heard})"
    return (
        number(
            Words("Who hears", "Audio heard at your price, in its currency.", MONEY),
            Ask(heard),
            decimals=4,
        ),
        number(
            Words("Who thinks", "Tokens at your prices, cached ones at theirs.", MONEY),
            Ask(tokens),
            decimals=4,
        ),
        number(
            Words("Who speaks", "Characters spoken at your price.", MONEY),
            Ask(spoken),
            decimals=4,
        ),
        number(
            Words("Together", "All three, in the time shown; 0 until you give prices.", MONEY),
            Ask(everything),
            decimals=4,
        ),
        number(
            Words("A call", "All three for each call that ended.", MONEY),
            Ask(f"({everything}) / {total(ENDED)}"),
            decimals=4,
        ),
        number(Words("Calls", "Calls that ended.", COUNT), Ask(total(ENDED)), decimals=0),
        rows(
            Words(
                "Used in the time shown",
                "What a bill can be held against, by provider and model.",
                COUNT,
            ),
            ("provider", "model"),
            (
                Column("tokens", total(of(names.TOKENS, 'type!="cached"'), by="provider, model")),
                Column("characters", total(CHARACTERS, by="provider, model")),
                Column("audio", total(of(names.AUDIO), by="provider, model"), SECONDS),
            ),
            width=WHOLE,
        ),
    )

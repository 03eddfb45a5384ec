"""The part of the providers' dashboard that is about what they are given, and what that costs."""

from ops.dashboards.frame import Panels
from ops.dashboards.panel import (
    COUNT,
    SECONDS,
    TIMES_A_MINUTE,
    WHOLE,
    Ask,
    Words,
    lines,
    number,
)
from ops.dashboards.query import of, per_minute, rate, total
from ops.dashboards.tables import Column, rows
from voicefleet.telemetry import names
from voicefleet.telemetry.names import Metric

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
                COUNT,
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
    # A model that hears and speaks counts no characters, and a scribe no tokens.
    everything = " + ".join(f"(({part}) or vector(0))" for part in (tokens, spoken, heard))
    return (
        number(
            Words("Who hears", "Audio heard at your price, in its currency.", MONEY),
            Ask(heard),
            decimals=4,
        ),
        number(
            Words("Who thinks", "All tokens at your prices, cached ones at theirs.", MONEY),
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
                "To hold a bill against; what a new pod uses first is not in it.",
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

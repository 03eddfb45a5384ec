"""When the museum is open, by the table in hours.toml."""

import tomllib
from datetime import datetime, time
from importlib import resources

import humanize

DAYS = tomllib.loads(resources.files(__package__).joinpath("hours.toml").read_text())["days"]


def describe(now: datetime) -> str:
    """What a caller wants to know at this moment, in a sentence."""
    day = [datetime.combine(now, time.fromisoformat(text)) for text in DAYS[now.weekday()]]
    if not day:
        return "We are closed all day."
    opens, closes = day
    if now < opens:
        return f"We open in {humanize.naturaldelta(opens - now)}."
    if now < closes:
        return f"We are open for another {humanize.naturaldelta(closes - now)}."
    return "We have closed for today."

"""The days in a script, which must lie ahead whenever it is played: `{tuesday}` is the next one, in
words where it is said and as a date where a tool is asked.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
PLACEHOLDER = re.compile(rf"\{{({'|'.join(WEEKDAYS)})\}}")

ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
    *("tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth"),
    *("seventeenth", "eighteenth", "nineteenth", "twentieth"),
)


def in_words(text: str) -> str:
    """The text with its days as people say them."""
    return _filled(text, lambda day: f"{day:%A} the {_ordinal(day.day)} of {day:%B}")


def as_dates(arguments: dict[str, Any]) -> dict[str, Any]:
    """A tool's arguments with their days as ISO dates."""
    return {
        name: _filled(value, date.isoformat) if isinstance(value, str) else value
        for name, value in arguments.items()
    }


def next_day(weekday: str, today: date) -> date:
    """The first such day after today."""
    ahead = (WEEKDAYS.index(weekday) - today.weekday() - 1) % len(WEEKDAYS) + 1
    return today + timedelta(days=ahead)


def _filled(text: str, write: Callable[[date], str]) -> str:
    # The agents' own clock, unless WORKER_TIMEZONE says otherwise.
    today = datetime.now(UTC).date()
    return PLACEHOLDER.sub(lambda found: write(next_day(found[1], today)), text)


def _ordinal(number: int) -> str:
    """From 1 to 31."""
    if number <= len(ORDINALS):
        return ORDINALS[number - 1]
    tens = "thirty" if number > 30 else "twenty"
    return "thirtieth" if number == 30 else f"{tens} {ORDINALS[number % 10 - 1]}"

"""When the practice can be visited, and how its days and times are said. Times have no zone: they
are those of the clock on the practice's wall.
"""

from collections.abc import Collection, Iterator
from datetime import date, datetime, time, timedelta

from livekit.agents import ToolError

APPOINTMENT_LASTS = timedelta(minutes=30)
# Each row is when appointments begin and when the last one ends; between them is lunch.
HOURS = ((time(9), time(12)), (time(13), time(17)))
SATURDAY = 5
FURTHEST_DAYS = 60

UNITS = (
    "twelve", "one", "two", "three", "four", "five",
    "six", "seven", "eight", "nine", "ten", "eleven",
)  # fmt: skip
ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth",
    "eighteenth", "nineteenth", "twentieth", "twenty first", "twenty second", "twenty third",
    "twenty fourth", "twenty fifth", "twenty sixth", "twenty seventh", "twenty eighth",
    "twenty ninth", "thirtieth", "thirty first",
)  # fmt: skip


class RefusedError(ToolError):
    """It cannot be done so. The LLM reads the message, which says what to do."""


def parse_day(text: str) -> date:
    """:raises RefusedError: if it is no date."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise RefusedError(
            f"{text[:40]!r} is no date: give it as 2030-12-31, or ask the caller for the day"
        ) from None


def parse_time(text: str) -> time:
    """:raises RefusedError: if it is no time of day."""
    try:
        return datetime.strptime(text.strip(), "%H:%M").time()
    except ValueError:
        raise RefusedError(
            f"{text[:40]!r} is no time: give it as 14:30, or ask the caller for the time"
        ) from None


def check(at: datetime, now: datetime) -> None:
    """:raises RefusedError: if no appointment can begin then, booked or not."""
    if at <= now:
        raise RefusedError(f"{spoken(at)} is in the past: ask the caller for a day to come")
    check_day(at.date(), now)
    if at.time() not in set(_starts()):
        raise RefusedError(
            f"no appointment begins at {spoken_time(at.time())}: they begin every half hour from"
            " nine to twelve and from one to five; offer the nearest with free_times"
        )


def check_day(day: date, now: datetime) -> None:
    """:raises RefusedError: if nobody can come on that day."""
    if day < now.date():
        raise RefusedError(f"{spoken_day(day)} is in the past: ask the caller for a day to come")
    if day > now.date() + timedelta(days=FURTHEST_DAYS):
        raise RefusedError(
            f"{spoken_day(day)} is too far away: appointments are made for the next"
            f" {FURTHEST_DAYS} days"
        )
    if day.weekday() >= SATURDAY:
        raise RefusedError("the practice is closed on Saturday and Sunday: offer another day")


def free_times(day: date, taken: Collection[datetime], now: datetime) -> list[datetime]:
    """Where an appointment can still begin on that day, earliest first."""
    starts = (datetime.combine(day, start) for start in _starts())
    return [at for at in starts if at > now and at not in taken]


def spoken_times(starts: Collection[datetime]) -> str:
    """Times of one day as a list to say."""
    return ", ".join(spoken_time(at.time()) for at in starts) or "none"


def spoken(at: datetime) -> str:
    return f"{spoken_day(at.date())} at {spoken_time(at.time())}"


def spoken_day(day: date) -> str:
    return f"{day:%A} the {ORDINALS[day.day - 1]} of {day:%B}"


def spoken_time(at: time) -> str:
    part = "morning" if at.hour < 12 else "afternoon" if at.hour < 18 else "evening"
    hour = UNITS[at.hour % 12]
    match at.minute:
        case 0:
            return f"{hour} in the {part}"
        case 30:
            return f"half past {hour} in the {part}"
        case minute:
            return f"{minute} past {hour} in the {part}"


def _starts() -> Iterator[time]:
    """Every time of day at which an appointment begins."""
    for opens, closes in HOURS:
        at = datetime.combine(date.min, opens)
        while at + APPOINTMENT_LASTS <= datetime.combine(date.min, closes):
            yield at.time()
            at += APPOINTMENT_LASTS

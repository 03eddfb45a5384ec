"""What the library's telephone knows by heart: opening hours and the catalogue."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from livekit.agents import ToolError

Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

LONGEST_TITLE_CHARACTERS = 100
# How alike two titles must be to count as one, 0 to 1: callers mumble and recognisers guess.
TITLE_LIKENESS_RATIO = 0.7

HOUR_WORDS = (
    "twelve", "one", "two", "three", "four", "five",
    "six", "seven", "eight", "nine", "ten", "eleven",
)  # fmt: skip


class UnknownBookError(ToolError):
    """No book of the catalogue has such a title; the LLM reads the message."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Full hours of one day, 0 to 23."""

    opens_hour: int
    closes_hour: int


@dataclass(frozen=True, slots=True)
class Book:
    title: str
    author: str
    shelf: str
    copies: int
    """Copies on the shelf now; 0 when all are lent."""


WEEKDAY = Hours(opens_hour=9, closes_hour=19)
HOURS: Mapping[Day, Hours | None] = {
    "monday": WEEKDAY,
    "tuesday": WEEKDAY,
    "wednesday": WEEKDAY,
    "thursday": WEEKDAY,
    "friday": WEEKDAY,
    "saturday": Hours(opens_hour=10, closes_hour=16),
    "sunday": None,
}

CATALOGUE = (
    Book("Frankenstein", "Mary Shelley", "twelve", 2),
    Book("Jane Eyre", "Charlotte Bronte", "four", 1),
    Book("Moby Dick", "Herman Melville", "nine", 0),
    Book("Pride and Prejudice", "Jane Austen", "three", 3),
    Book("The Time Machine", "H. G. Wells", "fourteen", 1),
)


def opening_hours(day: Day) -> str:
    """The hours of a day as a sentence to say."""
    hours = HOURS[day]
    if hours is None:
        return f"On {day.capitalize()} the library is closed."
    opens, closes = spoken_hour(hours.opens_hour), spoken_hour(hours.closes_hour)
    return f"On {day.capitalize()} the library is open from {opens} until {closes}."


def spoken_hour(hour: int) -> str:
    """A full hour, 0 to 23, as people say it."""
    part = "morning" if hour < 12 else "afternoon" if hour < 18 else "evening"
    return f"{HOUR_WORDS[hour % 12]} in the {part}"


def find_book(title: str) -> Book:
    """The book whose title is most like `title`.

    :raises UnknownBookError: if none is like it.
    """
    if len(title) > LONGEST_TITLE_CHARACTERS:
        raise UnknownBookError("that is too long for a title: ask for the title alone")
    books = {book.title.casefold(): book for book in CATALOGUE}
    alike = difflib.get_close_matches(
        title.strip().casefold(), books, n=1, cutoff=TITLE_LIKENESS_RATIO
    )
    if not alike:
        raise UnknownBookError(
            f"there is no book called {title!r} in the catalogue: say so, and offer to look for "
            "another title"
        )
    return books[alike[0]]


def whereabouts(book: Book) -> str:
    """Where a book is, as a sentence to say."""
    if book.copies == 0:
        return f"{book.title} by {book.author} is lent out at the moment."
    return f"{book.title} by {book.author} is on shelf {book.shelf}, copies there: {book.copies}."

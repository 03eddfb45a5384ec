"""The appointment book, as the front desk sees it, and an SQLite file behind it. One dentist: one
appointment at a time.

Each job is a process of its own, and a pod has several, so a calendar must be right between
processes: whoever is second to take a time is told so, and nothing is overwritten. In the file, its
locks and the table's unique columns see to that, not Python. A network file system has no such
locks: across machines put a database server behind `Calendar`.
"""

import asyncio
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from .opening import RefusedError, spoken

# A caller hears nothing meanwhile but "one moment".
PATIENCE_SECONDS = 5.0

# How long one waits for another's lock: a write takes a few milliseconds.
LOCK_WAIT_SECONDS = 2.0
REFERENCE_ATTEMPTS = 20

TABLE = """
CREATE TABLE IF NOT EXISTS appointments (
    at TEXT PRIMARY KEY,
    reference TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    request TEXT NOT NULL UNIQUE
) WITHOUT ROWID
"""

Result = TypeVar("Result")


class TakenError(RefusedError):
    """Somebody else has that time."""

    def __init__(self, at: datetime) -> None:
        super().__init__(f"{spoken(at)} is taken: offer another time of free_times")


class UnavailableError(RefusedError):
    """The calendar did not answer. What was asked of it may have been done: to ask the same again
    is safe.
    """

    def __init__(self) -> None:
        super().__init__(
            "the calendar does not answer: apologise, say that you are trying again, and call the"
            " same tool again; after the second time ask the caller to ring later"
        )


class DoneMeanwhileError(RefusedError):
    """Before there is another change, the one that nobody answered for was made."""

    def __init__(self, appointments: str) -> None:
        super().__init__(
            f"the change before is done by now, the calendar has answered. {appointments} Tell the"
            " caller, and change that appointment if it is not wanted any more"
        )


@dataclass(frozen=True, slots=True)
class Appointment:
    """`reference` is four digits, which the caller is told and proves the appointment with."""

    reference: str
    at: datetime
    name: str


class Calendar(Protocol):
    """Every method may raise UnavailableError, and may then be called again with the same words:
    nothing is done twice.
    """

    async def taken(self, day: date) -> frozenset[datetime]:
        """The beginnings of that day's appointments."""

    async def book(self, request: str, at: datetime, name: str) -> Appointment:
        """A new appointment. `request` names the wish: the same one again gives the same
        appointment.

        :raises TakenError: if the time is another's.
        """

    async def find(self, reference: str) -> Appointment | None: ...

    async def move(self, reference: str, to: datetime) -> None:
        """The appointment keeps its old time unless the new one is free.

        :raises TakenError: if the time is another's.
        """

    async def cancel(self, reference: str) -> None:
        """One that is not there is cancelled already."""


async def in_time(step: Awaitable[Result]) -> Result:
    """What a step of the calendar gives.

    :raises UnavailableError: if it takes longer than a caller would wait.
    """
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await step
    except TimeoutError:
        raise UnavailableError from None


class SqliteCalendar:
    """Opens the file anew for each step, in a thread: the event loop carries the call's audio."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def taken(self, day: date) -> frozenset[datetime]:
        return await self._in_thread(lambda book: frozenset(_taken(book, day)))

    async def book(self, request: str, at: datetime, name: str) -> Appointment:
        return await self._in_thread(lambda book: _book(book, request, at, name))

    async def find(self, reference: str) -> Appointment | None:
        return await self._in_thread(lambda book: _find(book, "reference", reference))

    async def move(self, reference: str, to: datetime) -> None:
        await self._in_thread(lambda book: _move(book, reference, to))

    async def cancel(self, reference: str) -> None:
        await self._in_thread(
            lambda book: book.execute("DELETE FROM appointments WHERE reference = ?", (reference,))
        )

    async def _in_thread(self, step: Callable[[sqlite3.Connection], Result]) -> Result:
        return await asyncio.to_thread(self._run, step)

    def _run(self, step: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            with _opened(self._path) as book:
                return step(book)
        except sqlite3.Error as error:
            raise UnavailableError from error


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, locked for writing; what was done in the block is kept only if it ends well."""
    connecting = sqlite3.connect(path, timeout=LOCK_WAIT_SECONDS, isolation_level=None)
    with closing(connecting) as book:
        # IMMEDIATE takes the lock before the first look, so that nothing changes in between.
        book.execute("BEGIN IMMEDIATE")
        with book:
            book.execute(TABLE)
            yield book


def _taken(book: sqlite3.Connection, day: date) -> Iterator[datetime]:
    rows = book.execute("SELECT at FROM appointments WHERE date(at) = ?", (day.isoformat(),))
    return (datetime.fromisoformat(at) for (at,) in rows)


def _book(book: sqlite3.Connection, request: str, at: datetime, name: str) -> Appointment:
    if (known := _find(book, "request", request)) is not None:
        return known
    made = Appointment(_free_reference(book), at, name)
    row = (at.isoformat(), made.reference, name, request)
    try:
        book.execute("INSERT INTO appointments VALUES (?, ?, ?, ?)", row)
    except sqlite3.IntegrityError:
        raise TakenError(at) from None
    return made


def _move(book: sqlite3.Connection, reference: str, to: datetime) -> None:
    try:
        changed = book.execute(
            "UPDATE appointments SET at = ? WHERE reference = ?", (to.isoformat(), reference)
        )
    except sqlite3.IntegrityError:
        raise TakenError(to) from None
    if changed.rowcount == 0:
        raise RefusedError("that appointment has been cancelled: offer to book a new one")


def _find(
    book: sqlite3.Connection, column: Literal["reference", "request"], value: str
) -> Appointment | None:
    found = book.execute(
        f"SELECT reference, at, name FROM appointments WHERE {column} = ?", (value,)
    ).fetchone()
    return Appointment(found[0], datetime.fromisoformat(found[1]), found[2]) if found else None


def _free_reference(book: sqlite3.Connection) -> str:
    for _ in range(REFERENCE_ATTEMPTS):
        # Short, to be said on the telephone: whoever guesses is stopped by the call (notes.py).
        reference = f"{secrets.randbelow(10_000):04}"
        if _find(book, "reference", reference) is None:
            return reference
    raise UnavailableError

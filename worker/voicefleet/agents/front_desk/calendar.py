"""The appointment book, as the front desk sees it. One dentist: one appointment at a time.

Each job is a process of its own, and a pod has several, so a calendar must be right between
processes: whoever is second to take a time is told so, and nothing is overwritten.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol, TypeVar

from voicefleet.agents.front_desk.opening import RefusedError, spoken

# A caller hears nothing meanwhile but "one moment".
PATIENCE_SECONDS = 5.0

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

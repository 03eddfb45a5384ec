"""What the front desk knows of one call: whose appointments these are, and what waits for a yes."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from .calendar import Appointment, Calendar
from .changes import Change
from .opening import RefusedError, spoken

LONGEST_NAME_CHARACTERS = 60
# How alike two names must be to count as one, 0 to 1: recognisers guess.
NAME_LIKENESS_RATIO = 0.7
# A reference has four digits: nobody may try them all.
MOST_WRONG_REFERENCES = 3


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that was read back when the caller had spoken so many times."""

    change: Change
    caller_turns: int


@dataclass(slots=True)
class Notes:
    """The session's userdata. `now` is the practice's clock; `appointments` are those that the
    caller has made or proven in this call, by reference, the latest one last; `unsettled` was
    confirmed, and the calendar has not answered: it may be done or not.
    """

    calendar: Calendar
    now: Callable[[], datetime]
    appointments: dict[str, Appointment] = field(default_factory=dict)
    proposal: Proposal | None = None
    unsettled: Change | None = None
    wrong_reference_count: int = 0

    def appointment(self, reference: str | None) -> Appointment:
        """The caller's appointment of that reference, or the latest one of this call.

        :raises RefusedError: if it is not known to be the caller's.
        """
        if reference is None and self.appointments:
            return list(self.appointments.values())[-1]
        known = self.appointments.get(digits(reference or ""))
        if known is None:
            raise RefusedError(
                "that appointment is not known to be the caller's: ask for the reference and the"
                " name, and call find_appointment"
            )
        return known

    def confirmed(self, caller_turns: int) -> Change:
        """The change that the caller has had the chance to answer.

        :raises RefusedError: if none waits, or it was read back and not answered yet.
        """
        if self.proposal is None:
            raise RefusedError(f"nothing waits for a yes. {self.summary()}")
        if caller_turns <= self.proposal.caller_turns:
            raise RefusedError("the caller has not answered yet: wait for the answer")
        return self.proposal.change

    def keep(self, changed: Appointment | None, before: Appointment | None) -> None:
        """The appointment as it is now; `before` is what it was."""
        if before is not None:
            self.appointments.pop(before.reference, None)
        if changed is not None:
            self.appointments[changed.reference] = changed
        self.proposal = self.unsettled = None

    def prove(self, found: Appointment | None, name: str) -> Appointment:
        """The appointment, now known to be the caller's.

        :raises RefusedError: if the name is not its name, or there were too many wrong ones.
        """
        if self.wrong_reference_count >= MOST_WRONG_REFERENCES:
            raise RefusedError(
                "there were too many wrong references in this call: say that an appointment can"
                " only be changed with its reference, and offer to book a new one"
            )
        if found is None or not _alike(found.name, name):
            self.wrong_reference_count += 1
            raise RefusedError(
                "there is no appointment with that reference and that name: ask for both again"
            )
        self.appointments[found.reference] = found
        return found

    def summary(self) -> str:
        """The caller's appointments, for the LLM."""
        known = [f"{spoken(a.at)}, reference {a.reference}" for a in self.appointments.values()]
        return f"The caller's appointments: {'; '.join(known) or 'none known in this call'}."


def digits(reference: str) -> str:
    """The digits of a reference, whatever a recogniser has put between them."""
    return "".join(character for character in reference if character.isdigit())


def tidy_name(name: str) -> str:
    """:raises RefusedError: if nobody is called so."""
    name = " ".join(name.split())
    if not any(character.isalpha() for character in name) or len(name) > LONGEST_NAME_CHARACTERS:
        raise RefusedError("that is no name: ask the caller for first and last name")
    return name


def _alike(one: str, other: str) -> bool:
    likeness = difflib.SequenceMatcher(None, one.casefold(), other.casefold()).ratio()
    return likeness >= NAME_LIKENESS_RATIO

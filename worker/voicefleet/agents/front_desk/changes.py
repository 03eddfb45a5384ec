"""What a caller wishes to have changed: it can be read back, and then done."""

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime

from .calendar import Appointment, Calendar
from .opening import spoken


@dataclass(frozen=True, slots=True)
class Booking:
    at: datetime
    name: str
    request: str = field(default_factory=lambda: uuid.uuid4().hex)
    before: None = None

    @property
    def question(self) -> str:
        return f"I have {spoken(self.at)}, for {self.name}. Is that right?"

    async def apply(self, calendar: Calendar) -> Appointment | None:
        return await calendar.book(self.request, self.at, self.name)


@dataclass(frozen=True, slots=True)
class Move:
    before: Appointment
    to: datetime

    @property
    def question(self) -> str:
        was, will_be = spoken(self.before.at), spoken(self.to)
        return f"I move your appointment from {was} to {will_be}. Is that right?"

    async def apply(self, calendar: Calendar) -> Appointment | None:
        await calendar.move(self.before.reference, self.to)
        return replace(self.before, at=self.to)


@dataclass(frozen=True, slots=True)
class Cancellation:
    before: Appointment

    @property
    def question(self) -> str:
        return f"I cancel your appointment on {spoken(self.before.at)}. Is that right?"

    async def apply(self, calendar: Calendar) -> Appointment | None:
        await calendar.cancel(self.before.reference)
        return None


Change = Booking | Move | Cancellation
"""To do it twice is to do it once. `question` is what the caller is to say yes to, word for word;
`before` the appointment that is changed, None for a new one; `apply` returns the appointment as it
is then, None where it is cancelled, and raises RefusedError if it cannot be done, and then nothing
was. Plain data, so that a call that goes on in another process has it again.
"""

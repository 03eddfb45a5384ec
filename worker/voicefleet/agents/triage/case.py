"""What the desks of one call know together: it goes with the call from desk to desk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from livekit.agents import tts

from .records import Bill, RefusedError

DeskName = Literal["reception", "billing", "support", "technical"]

# Reception and the right desk; more, and the desks are talking to each other and not to the caller.
MOST_HANDOVERS_IN_A_TURN = 2
LONGEST_NOTE_CHARACTERS = 300


@dataclass(slots=True)
class Case:
    """The session's userdata. A desk without a voice here speaks with the session's."""

    voices: Mapping[DeskName, tts.TTS[Any]] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    bill: Bill | None = None
    line: str | None = None
    tickets: list[str] = field(default_factory=list)
    _handovers_in_turn: tuple[int, int] = (0, 0)

    def hand_over(self, to: DeskName, reason: str, caller_turns: int) -> None:
        """Write down that the call goes on, and why. `caller_turns` is how often the caller spoke.

        :raises RefusedError: if it went on too often since the caller has spoken.
        """
        turn, count = self._handovers_in_turn
        count = count + 1 if turn == caller_turns else 1
        if count > MOST_HANDOVERS_IN_A_TURN:
            raise RefusedError("the call was handed over twice just now: speak with the caller")
        self._handovers_in_turn = (caller_turns, count)
        self.reasons.append(f"to {to}: {tidy(reason)}")

    def open_ticket(self, summary: str) -> str:
        """The number of the ticket; the same summary again is the same ticket."""
        summary = tidy(summary)
        if not summary:
            raise RefusedError("a ticket says what is wrong: ask the caller")
        if summary not in self.tickets:
            self.tickets.append(summary)
        return f"{self.tickets.index(summary) + 1}"

    def summary(self) -> str:
        """All of it, for the LLM of whichever desk has the call."""
        known = [
            *(f"Handed over {reason}" for reason in self.reasons),
            *([str(self.bill)] if self.bill else []),
            *([f"The line is {self.line}."] if self.line else []),
            *(f"Ticket {number}: {text}" for number, text in enumerate(self.tickets, start=1)),
        ]
        return "\n".join(f"- {entry}" for entry in known) or "- nothing yet"


def tidy(note: str) -> str:
    """A note on one line, and not longer than one reads."""
    return " ".join(note.split())[:LONGEST_NOTE_CHARACTERS]

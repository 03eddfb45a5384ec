"""What the desks can look up and write down: bills, lines and tickets. An example's few, in memory;
yours come from the company's systems.
"""

from dataclasses import dataclass
from typing import Literal

from livekit.agents import ToolError


class RefusedError(ToolError):
    """It cannot be done. The LLM reads the message, which says what to do."""


@dataclass(frozen=True, slots=True)
class Bill:
    number: str
    amount: str
    """In words, to be said."""
    is_paid: bool

    def __str__(self) -> str:
        return f"Bill {self.number}: {self.amount}, {'paid' if self.is_paid else 'not paid'}."


LineState = Literal["in order", "slow", "down"]

BILLS = (
    Bill("421", "forty dollars", is_paid=True),
    Bill("422", "fifty five dollars and ten cents", is_paid=False),
)
LINES: dict[str, LineState] = {"100": "in order", "200": "slow", "300": "down"}


def find_bill(number: str) -> Bill:
    """:raises RefusedError: if there is none of that number."""
    for bill in BILLS:
        if bill.number == digits(number):
            return bill
    raise RefusedError("there is no bill of that number: ask for the number again")


def line_state(customer_number: str) -> LineState:
    """:raises RefusedError: if nobody has that number."""
    state = LINES.get(digits(customer_number))
    if state is None:
        raise RefusedError("there is no customer of that number: ask for the number again")
    return state


def digits(number: str) -> str:
    """The digits of a number, whatever a recogniser has put between them."""
    return "".join(character for character in number if character.isdigit())

"""The workshop's book: which repair is how far."""

import re
from dataclasses import dataclass

from livekit.agents import ToolError

NUMBER = re.compile(r"\d{4}")


@dataclass(frozen=True, slots=True)
class Repair:
    what: str
    is_ready: bool


REPAIRS = {
    "4271": Repair("the red bicycle", is_ready=True),
    "8830": Repair("the child seat", is_ready=False),
}


def status(number: str) -> str:
    """How far a repair is, as a sentence to say.

    :raises ToolError: if there is none of that number; the LLM reads the message.
    """
    digits = "".join(number.split())
    if not NUMBER.fullmatch(digits):
        raise ToolError("a repair has four digits: ask for all four, or to key them in")
    if digits not in REPAIRS:
        raise ToolError(f"there is no repair {digits}: read the digits back and ask again")
    repair = REPAIRS[digits]
    if repair.is_ready:
        return f"{repair.what} is ready to be picked up until six in the evening."
    return f"{repair.what} is not ready yet. It will be tomorrow."

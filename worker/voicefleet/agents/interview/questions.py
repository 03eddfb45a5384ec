"""The questions of the interview, in the order they are asked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """`topic` completes "your answer about …"; `text` is asked word for word."""

    topic: str
    text: str


QUESTIONS = (
    Question("teamwork", "Tell me about a time when you worked with a team."),
    Question("planning", "How do you plan a day with too much to do?"),
    Question("learning", "Tell me what you learned from a mistake."),
)

"""The scorecard of one interview: pure functions from one frozen card to the next.

What the LLM proposes is checked here, and the result is computed here.
"""

from dataclasses import dataclass, replace

from livekit.agents import ToolError

from .questions import QUESTIONS, Question

LOWEST_SCORE, HIGHEST_SCORE = 1, 5
LONGEST_NOTE_CHARACTERS = 200

# From which share of the possible points, 0 to 1, an interview is called what.
VERDICTS = ((0.8, "a strong interview"), (0.6, "a good interview"), (0.0, "a start to build on"))

SMALL_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


class RefusedError(ToolError):
    """The card does not allow this step. The LLM reads the message, which says what to do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`score` is from 1 to 5; `note` says why, in a few words."""

    score: int
    note: str


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Questions are asked and answered in order, so answer 0 belongs to question 0."""

    questions: tuple[Question, ...] = QUESTIONS
    asked_count: int = 0
    answers: tuple[Answer, ...] = ()
    is_finished: bool = False

    @property
    def is_complete(self) -> bool:
        return len(self.answers) == len(self.questions)


def ask_next(card: Scorecard) -> Scorecard:
    """The card after its next question was asked: `questions[asked_count - 1]`.

    :raises RefusedError: if a question still waits for its answer, or none is left.
    """
    _refuse_if_finished(card)
    if card.asked_count > len(card.answers):
        raise RefusedError(f"the interview has begun: {_expected(card)}")
    if card.is_complete:
        raise RefusedError("every question has been asked: call finish_interview")
    return replace(card, asked_count=card.asked_count + 1)


def record(card: Scorecard, number: int, score: int, note: str) -> Scorecard:
    """The card with the answer to question `number`, counted from 1.

    :raises RefusedError: if that question does not wait for an answer, or the answer is malformed.
    """
    _refuse_if_finished(card)
    if 1 <= number <= len(card.answers):
        kept = card.answers[number - 1].score
        raise RefusedError(
            f"question {number} is recorded with {kept} points, and that stands: {_expected(card)}"
        )
    if not 1 <= number <= card.asked_count:
        raise RefusedError(f"question {number} has not been asked: {_expected(card)}")
    if not LOWEST_SCORE <= score <= HIGHEST_SCORE:
        raise RefusedError(
            f"a score is from {LOWEST_SCORE} to {HIGHEST_SCORE}, not {score}: record again"
        )
    note = " ".join(note.split())
    if not 1 <= len(note) <= LONGEST_NOTE_CHARACTERS:
        raise RefusedError(
            f"a note has from 1 to {LONGEST_NOTE_CHARACTERS} characters, not {len(note)}: "
            "record again"
        )
    return replace(card, answers=(*card.answers, Answer(score, note)))


def finish(card: Scorecard, *, is_stopped_by_caller: bool) -> Scorecard:
    """The card after its last step.

    :raises RefusedError: if questions are open and the caller has not asked to stop.
    """
    _refuse_if_finished(card)
    if not (card.is_complete or is_stopped_by_caller):
        raise RefusedError(f"the interview is not over: {_expected(card)}")
    return replace(card, is_finished=True)


def points(card: Scorecard) -> int:
    return sum(answer.score for answer in card.answers)


def summary(card: Scorecard) -> str:
    """The result in sentences to say, numbers in words."""
    if not card.answers:
        return "You answered no question, so there is no score."
    possible = HIGHEST_SCORE * len(card.answers)
    answered = (
        f"all {in_words(len(card.questions))}"
        if card.is_complete
        else f"{in_words(len(card.answers))} of {in_words(len(card.questions))}"
    )
    return (
        f"You answered {answered} questions and scored {in_words(points(card))} of "
        f"{in_words(possible)} points. That is {verdict(points(card) / possible)}."
        f"{_extremes(card)}"
    )


def verdict(points_ratio: float) -> str:
    """What an interview with this share of the possible points, 0 to 1, is called."""
    return next(words for lowest_ratio, words in VERDICTS if points_ratio >= lowest_ratio)


def in_words(number: int) -> str:
    """A number from 0 to 99, as people say it."""
    if number < len(SMALL_NUMBERS):
        return SMALL_NUMBERS[number]
    tens, ones = divmod(number, 10)
    return f"{TENS[tens]} {SMALL_NUMBERS[ones]}" if ones else TENS[tens]


def _extremes(card: Scorecard) -> str:
    """The strongest and the weakest answer, the earlier one of equals; nothing if all are equal."""
    answered = list(zip(card.questions, card.answers, strict=False))
    strongest = max(answered, key=lambda pair: pair[1].score)
    weakest = min(answered, key=lambda pair: pair[1].score)
    if strongest[1].score == weakest[1].score:
        return ""
    return (
        f" Your strongest answer was about {strongest[0].topic}."
        f" Your weakest answer was about {weakest[0].topic}."
    )


def _expected(card: Scorecard) -> str:
    if card.asked_count > len(card.answers):
        number = card.asked_count
        return f"ask question {number}, {card.questions[number - 1].text!r}, and record its answer"
    return "call finish_interview" if card.is_complete else "call begin_interview first"


def _refuse_if_finished(card: Scorecard) -> None:
    if card.is_finished:
        raise RefusedError("the interview is over: say nothing more than goodbye")

"""The interview's rules, without an interview."""

import pytest

from voicefleet.agents.interview import scorecard
from voicefleet.agents.interview.questions import QUESTIONS
from voicefleet.agents.interview.scorecard import RefusedError, Scorecard


def scored(*scores: int) -> Scorecard:
    """A card whose first questions were answered with these scores."""
    card = Scorecard()
    for number, score in enumerate(scores, start=1):
        card = scorecard.record(scorecard.ask_next(card), number, score, "a note")
    return card


def test_questions_are_asked_in_their_order_and_then_no_more() -> None:
    card = Scorecard()
    for number in range(1, len(QUESTIONS) + 1):
        card = scorecard.ask_next(card)
        assert card.asked_count == number
        card = scorecard.record(card, number, 3, "a note")
    with pytest.raises(RefusedError, match="call finish_interview"):
        scorecard.ask_next(card)


def test_a_question_is_not_asked_while_another_waits_for_its_answer() -> None:
    card = scorecard.ask_next(Scorecard())
    with pytest.raises(RefusedError, match="ask question 1"):
        scorecard.ask_next(card)


@pytest.mark.parametrize("number", [-1, 0, 1, 2, 99])
def test_before_the_first_question_there_is_nothing_to_record(number: int) -> None:
    with pytest.raises(RefusedError, match="call begin_interview first"):
        scorecard.record(Scorecard(), number, 3, "a note")


@pytest.mark.parametrize("number", [-1, 0, 3, 99])
def test_an_answer_to_a_question_not_asked_is_refused_with_the_one_that_was(number: int) -> None:
    card = scorecard.ask_next(scored(4))
    with pytest.raises(RefusedError, match="ask question 2"):
        scorecard.record(card, number, 3, "a note")


def test_a_second_record_replaces_nothing() -> None:
    card = scorecard.ask_next(scored(4))
    with pytest.raises(
        RefusedError, match="recorded with 4 points, and that stands: ask question 2, 'How do you"
    ):
        scorecard.record(card, 1, 5, "better")
    assert [answer.score for answer in card.answers] == [4]


@pytest.mark.parametrize("score", [-5, 0, 6, 10**30])
def test_a_score_outside_one_to_five_is_refused(score: int) -> None:
    with pytest.raises(RefusedError, match="a score is from 1 to 5"):
        scorecard.record(scorecard.ask_next(Scorecard()), 1, score, "a note")


@pytest.mark.parametrize("note", ["", " \n\t ", "x" * 201])
def test_a_note_is_neither_empty_nor_a_novel(note: str) -> None:
    with pytest.raises(RefusedError, match="a note has from 1 to 200 characters"):
        scorecard.record(scorecard.ask_next(Scorecard()), 1, 3, note)


def test_notes_are_kept_on_one_line() -> None:
    card = scorecard.record(scorecard.ask_next(Scorecard()), 1, 3, " clear\nand   short ")
    assert card.answers[0].note == "clear and short"


def test_an_interview_ends_early_only_if_the_caller_asks() -> None:
    card = scorecard.ask_next(scored(4))
    with pytest.raises(RefusedError, match="ask question 2"):
        scorecard.finish(card, is_stopped_by_caller=False)
    assert scorecard.finish(card, is_stopped_by_caller=True).is_finished


def test_after_the_end_nothing_is_asked_recorded_or_ended_again() -> None:
    card = scorecard.finish(scored(4, 3, 5), is_stopped_by_caller=False)
    with pytest.raises(RefusedError, match="over"):
        scorecard.ask_next(card)
    with pytest.raises(RefusedError, match="over"):
        scorecard.record(card, 1, 3, "a note")
    with pytest.raises(RefusedError, match="over"):
        scorecard.finish(card, is_stopped_by_caller=True)


@pytest.mark.parametrize(
    ("scores", "result"),
    [
        (
            (4, 3, 5),
            "You answered all three questions and scored twelve of fifteen points. That is a "
            "strong interview. Your strongest answer was about learning. Your weakest answer was "
            "about planning.",
        ),
        (
            (3, 3, 3),
            "You answered all three questions and scored nine of fifteen points. That is a good "
            "interview.",
        ),
        (
            (1, 2),
            "You answered two of three questions and scored three of ten points. That is a start "
            "to build on. Your strongest answer was about planning. Your weakest answer was about "
            "teamwork.",
        ),
        ((), "You answered no question, so there is no score."),
    ],
)
def test_the_summary_counts_what_was_recorded(scores: tuple[int, ...], result: str) -> None:
    assert scorecard.summary(scored(*scores)) == result


def test_the_earlier_of_equal_answers_is_named() -> None:
    assert "strongest answer was about teamwork" in scorecard.summary(scored(5, 5, 1))
    assert "weakest answer was about planning" in scorecard.summary(scored(5, 1, 1))


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.0, "a strong interview"),
        (0.8, "a strong interview"),
        (0.79, "a good interview"),
        (0.6, "a good interview"),
        (0.59, "a start to build on"),
        (0.2, "a start to build on"),
    ],
)
def test_a_verdict_begins_at_its_share_of_the_points(ratio: float, words: str) -> None:
    assert scorecard.verdict(ratio) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "zero"), (12, "twelve"), (19, "nineteen"), (20, "twenty"), (99, "ninety nine")],
)
def test_numbers_are_words(number: int, words: str) -> None:
    assert scorecard.in_words(number) == words

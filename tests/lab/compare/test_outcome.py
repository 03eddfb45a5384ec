"""What a drill tells, in the words of one cell."""

import pytest

from voicefleet.lab.compare.outcome import Figure, Outcome, in_digits, together


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4321, "0.432"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234"), (0.0, "0")],
)
def test_a_figure_shows_three_digits_that_mean_something(value: float, text: str) -> None:
    assert in_digits(value) == text


def test_one_value_is_shown_alone_and_several_as_median_least_and_most() -> None:
    assert str(Figure("joined after", (0.41,), "s")) == "joined after 0.410 s"
    assert str(Figure("", (3.0, 1.0, 8.0), "s")) == "3.00 s (1.00 to 8.00, n=3)"


def test_an_outcome_tells_calls_lost_then_figures_then_what_was_seen() -> None:
    outcome = Outcome(1, 2, (Figure("after", (2.0,), "s"),), "exit 1")
    assert str(outcome) == "**1 of 2 lost**; after 2.00 s; exit 1"


def test_what_broke_calls_off_stands_beside_them() -> None:
    assert str(Outcome(1, 2, why="not answered")) == "**1 of 2 lost** (not answered)"


def test_an_outcome_without_calls_at_stake_names_none() -> None:
    assert str(Outcome(seen="exit 69")) == "exit 69"


def test_a_drill_that_failed_shows_its_reason_and_no_figure() -> None:
    outcome = Outcome(0, 2, (Figure("", (1.0,), "s"),), failed="no agent came")
    assert str(outcome) == "failed: no agent came"


def test_rounds_in_turn_come_to_one_outcome_with_every_value_and_every_loss() -> None:
    whole = Outcome(0, 1, (Figure("joined after", (0.4,), "s"), Figure("heard after", (0.7,), "s")))
    lost = Outcome(1, 1, (Figure("joined after", (0.6,), "s"),), why="the agent said nothing")
    assert together([whole, lost]) == Outcome(
        1,
        2,
        (Figure("joined after", (0.4, 0.6), "s"), Figure("heard after", (0.7,), "s")),
        why="the agent said nothing",
    )


def test_a_round_that_could_not_be_held_leaves_no_figure_of_the_others() -> None:
    held = Outcome(0, 1, (Figure("joined after", (0.4,), "s"),))
    assert together([held, Outcome(failed="no agent came")]) == Outcome(failed="no agent came")

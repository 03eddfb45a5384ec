"""What counts as silence on a line."""

from voicefleet.lab.timeline import silences


def test_a_caller_waits_from_the_end_of_the_question_to_the_answer() -> None:
    assert silences([(0, 3), (7, 9)], [(4, 6)], until=10) == [1]


def test_who_asks_again_waits_on() -> None:
    assert silences([(0, 3), (20, 22)], [(4, 6), (12, 14)], until=30) == [14]


def test_the_agents_own_pauses_count_and_the_callers_do_not() -> None:
    assert silences([(0, 3), (5, 6), (9, 11)], [(7, 8.5)], until=20) == [2, 0.5]


def test_an_answer_that_interrupts_the_question_was_not_waited_for() -> None:
    assert silences([(0, 3), (5, 9)], [(4, 6)], until=10) == [0]


def test_a_question_that_nobody_answers_is_waited_for_to_the_end() -> None:
    assert silences([(0, 3)], [(4, 6), (12, 14)], until=21) == [15]


def test_a_line_on_which_nobody_asked_has_no_silence() -> None:
    assert silences([(0, 3)], [], until=20) == []

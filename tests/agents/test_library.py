"""Hours and books."""

import pytest

from voicefleet.agents.assistant import library


def test_saturday_is_from_ten_to_four_as_the_demo_call_says() -> None:
    assert library.opening_hours("saturday") == (
        "On Saturday the library is open from ten in the morning until four in the afternoon."
    )


def test_a_closed_day_is_said_to_be_closed() -> None:
    assert library.opening_hours("sunday") == "On Sunday the library is closed."


def test_every_day_has_its_sentence() -> None:
    sentences = {library.opening_hours(day) for day in library.HOURS}
    assert len(sentences) == 7


@pytest.mark.parametrize(
    ("hour", "words"),
    [
        (0, "twelve in the morning"),
        (9, "nine in the morning"),
        (12, "twelve in the afternoon"),
        (17, "five in the afternoon"),
        (23, "eleven in the evening"),
    ],
)
def test_hours_are_spoken_in_words(hour: int, words: str) -> None:
    assert library.spoken_hour(hour) == words


@pytest.mark.parametrize("title", ["Moby Dick", "moby-dick", "  MOBY DICK ", "mobi dick"])
def test_a_book_is_found_by_what_a_recogniser_makes_of_its_title(title: str) -> None:
    assert library.find_book(title).author == "Herman Melville"


def test_a_book_that_is_lent_out_has_no_shelf() -> None:
    assert "lent out" in library.whereabouts(library.find_book("Moby Dick"))
    assert "shelf four" in library.whereabouts(library.find_book("Jane Eyre"))


@pytest.mark.parametrize("title", ["", "   ", "Ulysses", "'; drop table books; --"])
def test_an_unknown_title_is_refused_with_what_to_do(title: str) -> None:
    with pytest.raises(library.UnknownBookError, match="offer to look for another title"):
        library.find_book(title)


def test_a_title_of_a_million_characters_is_refused_at_once() -> None:
    with pytest.raises(library.UnknownBookError, match="too long"):
        library.find_book("moby dick " * 100_000)

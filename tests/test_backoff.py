"""Pauses that grow."""

import pytest

from voicefleet.backoff import Backoff, pause_seconds


def test_pauses_double_from_the_first_to_the_longest() -> None:
    backoff = Backoff(0.5, 10.0)
    assert [backoff.next_seconds() for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_after_a_reset_the_next_pause_is_a_first_one() -> None:
    backoff = Backoff(1.0, 60.0)
    for _ in range(4):
        backoff.next_seconds()
    backoff.reset()
    assert backoff.failures == 0
    assert [backoff.next_seconds(), backoff.next_seconds()] == [1.0, 2.0]


@pytest.mark.parametrize(("drawn", "pause"), [(0.0, 2.0), (0.5, 3.0), (1.0, 4.0)])
def test_only_the_stated_part_of_a_pause_is_drawn(drawn: float, pause: float) -> None:
    backoff = Backoff(4.0, 10.0, jitter_ratio=0.5, draw=lambda: drawn)
    assert backoff.next_seconds() == pause


def test_jitter_never_makes_a_pause_longer_than_the_longest() -> None:
    backoff = Backoff(0.5, 10.0, jitter_ratio=0.5)
    pauses = [backoff.next_seconds() for _ in range(200)]
    assert max(pauses) <= 10.0
    assert min(pauses[5:]) >= 5.0
    assert len(set(pauses)) > 100


def test_the_pause_by_the_number_of_failures_is_none_after_none() -> None:
    assert [pause_seconds(failures, 1.0, 30.0) for failures in range(8)] == [
        0.0,
        1.0,
        2.0,
        4.0,
        8.0,
        16.0,
        30.0,
        30.0,
    ]


def test_no_number_of_failures_is_too_large() -> None:
    """A receiver that is away for days is asked more than a thousand times; 2.0**1024 raises."""
    assert pause_seconds(100_000, 1.0, 60.0) == 60.0

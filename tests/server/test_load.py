"""Load: calls against slots, scaled so that full is the threshold."""

import pytest

from worker.server import load


@pytest.mark.parametrize(("calls", "expected"), [(0, 0.0), (5, 0.35), (10, 0.7), (11, 0.7)])
def test_load_rises_with_calls_and_is_the_threshold_when_full(calls: int, expected: float) -> None:
    assert load.of(calls, slots=10, threshold=0.7) == pytest.approx(expected)


@pytest.mark.parametrize(("cpus", "slots"), [(0.1, 1), (0.5, 2), (2, 8), (3.9, 15)])
def test_default_slots_are_four_for_each_cpu_and_at_least_one(cpus: float, slots: int) -> None:
    assert load.default_slots(cpus) == slots

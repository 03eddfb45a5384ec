"""Slots: as many calls as CPU and memory carry, and a limit for each of them."""

import pytest

from voicefleet.pod import slots
from voicefleet.pod.slots import LEAST_CALL_LIMIT_BYTES, MIB, PARENT_BYTES, VIDEO, VOICE

GIB = 1024 * MIB


@pytest.mark.parametrize(("cpus", "expected"), [(0.1, 1), (0.5, 2), (2, 8), (3.9, 15)])
def test_default_slots_are_four_for_each_cpu_and_at_least_one(cpus: float, expected: int) -> None:
    assert slots.default_slots(cpus) == expected


def test_slots_that_are_set_stand_and_the_log_says_what_they_would_have_been() -> None:
    decision = slots.decide(10, cpu_share=2, memory_limit_bytes=3 * GIB)
    assert decision.slots == 10
    assert decision.reason == (
        "10 slots: set; 4 for each of 2 CPUs would make 8, memory would carry 13"
    )


def test_cpu_decides_where_memory_would_carry_more() -> None:
    decision = slots.decide(None, cpu_share=2, memory_limit_bytes=3 * GIB)
    assert decision.slots == 8
    assert decision.reason == "8 slots: 4 for each of 2 CPUs; memory would carry 13"


def test_memory_decides_where_it_carries_fewer_than_cpu() -> None:
    decision = slots.decide(None, cpu_share=4, memory_limit_bytes=2 * GIB)
    assert decision.slots == 7
    assert decision.reason == (
        "7 slots: memory: 90% of 2048 MiB less 672 MiB for the parent, by 150 MiB a call;"
        " 4 for each of 4 CPUs would make 16"
    )


def test_calls_with_video_are_fewer_for_a_cpu_and_for_memory() -> None:
    assert slots.decide(None, 2, 8 * GIB, cost=VIDEO).slots == 4
    decision = slots.decide(None, 4, 2 * GIB, cost=VIDEO)
    assert decision.reason == (
        "5 slots: memory: 90% of 2048 MiB less 672 MiB for the parent, by 200 MiB a call;"
        " 2 for each of 4 CPUs would make 8"
    )


def test_a_pod_too_small_for_one_call_still_takes_one_and_says_so() -> None:
    decision = slots.decide(None, cpu_share=2, memory_limit_bytes=512 * MIB)
    assert decision.slots == 1
    assert "too small for one call" in decision.reason


def test_without_a_memory_limit_cpu_alone_decides() -> None:
    assert slots.decide(None, cpu_share=0.5, memory_limit_bytes=None).slots == 2


@pytest.mark.parametrize("gib", [1, 2, 4, 8, 16, 64])
@pytest.mark.parametrize("cpus", [0.25, 1, 2, 8, 64])
def test_default_slots_at_their_budget_stay_within_the_memory_limit(gib: int, cpus: float) -> None:
    count = slots.decide(None, cpus, gib * GIB).slots
    assert PARENT_BYTES + count * VOICE.size_bytes < gib * GIB


@pytest.mark.parametrize("gib", [1, 2, 3, 4, 8, 64])
@pytest.mark.parametrize("count", [1, 2, 7, 10, 100])
def test_every_call_at_its_limit_and_the_parent_stay_within_the_pod(gib: int, count: int) -> None:
    limit = slots.call_memory_limit_bytes(gib * GIB, count)
    if limit is not None:
        assert PARENT_BYTES + count * limit < gib * GIB
        assert limit >= LEAST_CALL_LIMIT_BYTES


def test_no_limit_for_a_call_is_better_than_one_that_ends_healthy_calls() -> None:
    assert slots.call_memory_limit_bytes(2 * GIB, slots=8) is None
    assert slots.call_memory_limit_bytes(4 * GIB, slots=8) is not None


def test_a_pod_without_a_limit_gives_none_to_its_calls() -> None:
    assert slots.call_memory_limit_bytes(None, slots=8) is None


@pytest.mark.parametrize("limit_mib", [300, 376, 499, 625, 2000])
def test_a_call_is_warned_of_before_it_is_ended(limit_mib: int) -> None:
    """A derived limit under the default warning ended calls without a word."""
    assert slots.call_memory_warn_bytes(500 * MIB, limit_mib * MIB) < limit_mib * MIB

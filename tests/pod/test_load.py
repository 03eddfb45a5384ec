"""Load: calls against slots, full at the threshold; CPU and memory only near harm."""

import random
import threading
import time
from dataclasses import dataclass

import pytest

from voicefleet.pod import load
from voicefleet.pod.cgroup import Reading, Share
from voicefleet.pod.load import LoadMeter, LoadParts

GIB = 1024**3
FULL = 0.7


@dataclass
class Pod:
    """A pod in virtual time: it reads as if it used this much since it began."""

    now: float = 1000.0
    cpu_seconds: float = 30.0
    memory_bytes: int | None = GIB // 2
    pressure: float | None = 0.0
    is_broken: bool = False
    reads: int = 0

    def read(self) -> Reading:
        self.reads += 1
        if self.is_broken:
            raise OSError("no such cgroup")
        return Reading(self.cpu_seconds, self.memory_bytes, self.pressure)

    def meter(self, share: Share, slots: int = 10) -> LoadMeter:
        return LoadMeter(slots, FULL, share, self.read, clock=lambda: self.now)

    def runs(self, meter: LoadMeter, cores: float, seconds: float, every: float = 0.5) -> float:
        """Uses this many cores for so long, asked as LiveKit asks; the last load."""
        value = meter.load(0)
        for _ in range(round(seconds / every)):
            self.now += every
            self.cpu_seconds += cores * every
            value = meter.load(0)
        return value


def share(
    wall: float = 4.0, request: float | None = None, memory_bytes: int | None = 2 * GIB
) -> Share:
    return Share(wall, request, memory_bytes)


@pytest.mark.parametrize(("calls", "expected"), [(0, 0.0), (5, 0.35), (10, 0.7), (11, 0.7)])
def test_load_rises_with_calls_and_is_the_threshold_when_full(calls: int, expected: float) -> None:
    assert load.of(calls, slots=10, threshold=0.7) == pytest.approx(expected)
    assert Pod().meter(share()).load(calls) == pytest.approx(expected)


def test_cpu_below_what_harms_does_not_tint_the_load() -> None:
    pod = Pod()
    assert pod.runs(pod.meter(share(wall=4.0)), cores=2.7, seconds=120) == 0.0


def test_all_the_cpu_there_is_reads_full_after_seconds_not_at_once() -> None:
    pod = Pod()
    meter = pod.meter(share(wall=2.0))
    pod.runs(meter, cores=1.2, seconds=60)
    assert pod.runs(meter, cores=2.0, seconds=2.5) < FULL * 0.7
    assert pod.runs(meter, cores=2.0, seconds=10) == FULL
    assert pod.runs(meter, cores=0.5, seconds=10) == 0.0


def test_a_start_that_burns_cpu_does_not_hide_the_new_pod() -> None:
    pod = Pod(cpu_seconds=500.0)
    meter = pod.meter(share(wall=2.0))
    assert max(pod.runs(meter, cores=2.0, seconds=0.5) for _ in range(10)) < 0.1


def test_smoothing_goes_by_time_and_not_by_how_often_it_is_asked() -> None:
    loads = []
    for every in (0.25, 0.5, 2.0):
        pod = Pod()
        meter = pod.meter(share(wall=2.0))
        pod.runs(meter, cores=0.0, seconds=2, every=every)
        loads.append(pod.runs(meter, cores=1.9, seconds=8, every=every))
    assert 0.0 < loads[0] < FULL
    assert loads == pytest.approx([loads[0]] * 3, rel=0.05)


def test_an_idle_pod_on_a_busy_node_reads_empty() -> None:
    """Its few wake-ups wait for their turn, so the pressure is high; no request, no quota."""
    pod = Pod(pressure=0.9)
    assert pod.runs(pod.meter(share(wall=64.0)), cores=0.2, seconds=60) == 0.0
    assert pod.runs(pod.meter(share(wall=64.0, request=2.0)), cores=0.2, seconds=60) == 0.0


def test_borrowed_cpu_makes_others_preferred_but_never_full() -> None:
    pod = Pod(pressure=0.1)
    value = pod.runs(pod.meter(share(wall=64.0, request=2.0)), cores=6.0, seconds=60)
    assert value == pytest.approx(FULL * load.BORROWED_CEILING)


def test_more_than_the_request_and_waiting_for_cpu_reads_full() -> None:
    pod = Pod(pressure=0.4)
    assert pod.runs(pod.meter(share(wall=64.0, request=2.0)), 2.0, seconds=60) == FULL


def test_a_quota_is_a_wall_also_above_a_request() -> None:
    pod = Pod(pressure=None)
    assert pod.runs(pod.meter(share(wall=4.0, request=2.0)), cores=4.0, seconds=60) == FULL


@pytest.mark.parametrize(
    ("held_ratio", "expected"), [(0.3, 0.0), (0.75, 0.0), (0.825, 0.35), (0.9, 0.7), (1.0, 0.7)]
)
def test_memory_counts_near_its_limit_only(held_ratio: float, expected: float) -> None:
    pod = Pod(memory_bytes=round(2 * GIB * held_ratio))
    assert pod.runs(pod.meter(share()), 0.1, seconds=1) == pytest.approx(expected)


def test_memory_without_a_limit_never_counts() -> None:
    pod = Pod(memory_bytes=500 * GIB)
    assert pod.runs(pod.meter(share(memory_bytes=None)), 0.1, seconds=1) == 0.0


def test_the_same_state_reads_the_same_however_often_it_is_asked() -> None:
    pod = Pod()
    meter = pod.meter(share(wall=2.0))
    value = pod.runs(meter, cores=1.8, seconds=20)
    reads = pod.reads
    assert {meter.load(0) for _ in range(100)} == {value}
    assert pod.reads == reads


def test_parts_say_what_the_last_load_was_made_of() -> None:
    pod = Pod(memory_bytes=2 * GIB)
    meter = pod.meter(share())
    assert meter.parts() == LoadParts(0.0, 0.0, 0.0)
    pod.runs(meter, cores=0.1, seconds=1)
    meter.load(5)
    assert meter.parts() == LoadParts(slots=0.5, cpu=0.0, memory=1.0)


def test_what_cannot_be_read_stays_a_while_then_counts_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pod = Pod(memory_bytes=2 * GIB)
    meter = pod.meter(share(wall=2.0))
    pod.runs(meter, cores=2.0, seconds=60)
    pod.is_broken = True
    pod.runs(meter, cores=0.0, seconds=load.STALE_SECONDS - 1)
    assert meter.parts() == LoadParts(0.0, 1.0, 1.0)
    pod.runs(meter, cores=0.0, seconds=2)
    assert meter.parts() == LoadParts(0.0, 0.0, 0.0)
    assert [record.getMessage() for record in caplog.records] == ["load not sampled"]


def test_a_gap_is_bridged_by_what_was_used_in_it() -> None:
    pod = Pod()
    meter = pod.meter(share(wall=2.0))
    pod.runs(meter, cores=2.0, seconds=60)
    pod.is_broken = True
    pod.runs(meter, cores=2.0, seconds=5)
    pod.is_broken = False
    assert pod.runs(meter, cores=2.0, seconds=0.5) == FULL


def test_a_counter_that_steps_back_moves_only_where_we_count_from() -> None:
    pod = Pod()
    meter = pod.meter(share(wall=2.0))
    before = pod.runs(meter, cores=1.6, seconds=60)
    pod.cpu_seconds = 0.0
    assert pod.runs(meter, cores=0.0, seconds=0.5) == before > 0
    assert pod.runs(meter, cores=1.6, seconds=5) == pytest.approx(before, rel=0.001)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_read_the_load_is_between_nothing_and_the_threshold(seed: int) -> None:
    chance = random.Random(seed)
    pod = Pod()
    meter = pod.meter(share(chance.choice([0.1, 2.0]), chance.choice([None, 0.05, 9.0])))
    for _ in range(300):
        pod.now += chance.choice([0.0, 0.0, 0.3, 0.5, 20.0, 1e6])
        pod.cpu_seconds = chance.choice([0.0, chance.random() * 100, 1.8e13])
        pod.memory_bytes = chance.choice([None, 0, GIB, 2**64])
        pod.pressure = chance.choice([None, 0.0, 1.0])
        pod.is_broken = chance.random() < 0.2
        assert 0.0 <= meter.load(chance.randrange(15)) <= FULL


def test_many_threads_ask_at_once_and_none_waits_for_a_slow_read() -> None:
    pod, entered, go_on = Pod(), threading.Event(), threading.Event()

    def slow() -> Reading:
        entered.set()
        assert go_on.wait(10)
        return pod.read()

    meter = LoadMeter(10, FULL, share(), slow, clock=lambda: pod.now)
    pod.now += 1
    sampler = threading.Thread(target=meter.load, args=(0,))
    sampler.start()
    assert entered.wait(10)
    assert meter.load(5) == pytest.approx(0.35)
    go_on.set()
    sampler.join(10)
    assert pod.reads == 1


def test_hammering_from_threads_gives_only_true_values() -> None:
    pod, wrong, stop = Pod(), [], threading.Event()
    meter = pod.meter(share(wall=2.0))

    def ask(calls: int) -> None:
        while not stop.is_set():
            value = meter.load(calls)
            if not FULL * calls / 10 - 1e-9 <= value <= FULL:
                wrong.append(value)

    threads = [threading.Thread(target=ask, args=(calls,)) for calls in range(8)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pod.now += 0.3
        pod.cpu_seconds += 0.3
        meter.parts()
    stop.set()
    for thread in threads:
        thread.join(10)
    assert wrong == []
    assert pod.reads > 0

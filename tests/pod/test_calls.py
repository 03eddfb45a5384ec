"""The table of calls: whatever comes in whatever order, what it promises holds."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from voicefleet.pod.calls import Call, CallState, CallTable, EndedCall, WrongOrderError
from voicefleet.telemetry.call_report import CallTotals
from voicefleet.telemetry.messages import OUTCOMES, CallEnded, Cause, Fact, ProviderError, Usage

TOLD = CallEnded(cause=Cause.CALLER_LEFT, seconds=3.0)


def table(slots: int = 2, finishing_budget: int = 1) -> CallTable:
    return CallTable(slots, finishing_budget)


def running(calls: CallTable, job_id: str) -> Call:
    call = calls.offer(job_id, "RM_1")
    assert call is not None
    calls.accepted(call)
    return calls.started(job_id, pid=hash(job_id) & 0xFFFF)


def test_a_call_takes_a_slot_from_its_offer_until_its_caller_has_left() -> None:
    calls = table()
    call = calls.offer("one", "RM_1")
    assert call is not None
    assert (calls.occupied, calls.launched_slots, calls.taken) == (1, 0, 0)
    calls.accepted(call)
    assert (calls.occupied, calls.launched_slots, calls.taken) == (1, 0, 1)
    calls.launched("one", offered_at=5.0)
    assert (calls.occupied, calls.launched_slots, call.offered_at) == (1, 1, 5.0)
    calls.started("one", pid=7)
    calls.caller_left(call)
    assert (calls.occupied, calls.taken, calls.by_state()["finishing"]) == (0, 1, 1)
    calls.told_its_end(call, TOLD)
    ended = calls.gone(call)
    assert ended is not None
    assert (ended.cause, ended.seconds, len(calls)) == (Cause.CALLER_LEFT, 3.0, 0)


def test_a_call_that_went_on_is_as_long_as_all_its_processes_had_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its report told of ten resumes, five seconds of silence, and a call of four."""
    calls, now = table(), [100.0]
    monkeypatch.setattr(calls, "clock", lambda: now[0])
    call = running(calls, "one")
    now[0] += 20.0
    calls.died(call)
    calls.started(call.current_job_id, pid=8)
    now[0] += 5.0
    calls.told_its_end(call, CallEnded(cause=Cause.CALLER_LEFT, seconds=5.0))
    now[0] += 60.0
    ended = calls.gone(call)
    assert ended is not None
    assert ended.seconds == pytest.approx(25.0)


@pytest.mark.parametrize("cause", [Cause.CALLER_LEFT, Cause.ROOM_CLOSED])
def test_a_caller_who_hangs_up_on_a_dead_provider_was_not_served(cause: Cause) -> None:
    failed = ProviderError(kind="llm", provider="one", recoverable=True)
    answered = Usage(kind="llm", provider="another", model="small", output_tokens=9)
    causes = []
    told: list[list[Fact]] = [[failed], [failed, answered], [answered]]
    for facts in told:
        calls = table()
        call = running(calls, "one")
        for fact in facts:
            call.totals.add(fact)
        calls.told_its_end(call, CallEnded(cause=cause, seconds=3.0))
        ended = calls.gone(call)
        causes.append(ended and ended.cause)
    assert causes == [Cause.ERROR, cause, cause]


def test_a_realtime_model_that_answers_is_no_dead_provider() -> None:
    """LiveKit counts what it used as an LLM's."""
    totals = CallTotals()
    totals.add(ProviderError(kind="realtime", provider="one", recoverable=True))
    assert totals.lacked_a_provider
    totals.add(Usage(kind="llm", provider="one", model="small", output_tokens=9))
    assert not totals.lacked_a_provider


def test_calls_that_finish_beyond_the_budget_keep_their_slots() -> None:
    """With one slot and an end of a minute, six job processes lived at once."""
    calls = table(slots=2, finishing_budget=1)
    first, second = running(calls, "one"), running(calls, "two")
    calls.caller_left(first)
    calls.caller_left(second)
    assert calls.occupied == 1
    third = calls.offer("three", "RM_1")
    assert third is not None
    assert calls.offer("four", "RM_1") is None
    calls.gone(first)
    assert calls.occupied == 1
    assert calls.offer("four", "RM_1") is not None


def test_the_label_of_a_slot_that_was_given_back_is_given_again() -> None:
    calls = table(slots=1)
    calls.caller_left(running(calls, "one"))
    assert running(calls, "two").slot == 0
    assert calls.pids() == {0: hash("two") & 0xFFFF}


def test_one_job_is_offered_a_slot_once() -> None:
    calls = table()
    assert calls.offer("one", "RM_1") is not None
    assert calls.offer("one", "RM_1") is None
    assert calls.occupied == 1


def test_a_call_that_never_begins_gives_its_slot_back() -> None:
    calls = table(slots=1)
    call = calls.offer("one", "RM_1")
    assert call is not None
    calls.accepted(call)
    ended = calls.never_began(call, Cause.NOT_ASSIGNED)
    assert ended is not None
    assert (ended.cause, ended.seconds, calls.occupied) == (Cause.NOT_ASSIGNED, 0.0, 0)
    assert calls.never_began(call, Cause.NOT_STARTED) is None


def test_a_process_that_dies_before_it_says_that_it_has_the_call_ends_it() -> None:
    calls = table()
    call = calls.offer("one", "RM_1")
    assert call is not None
    calls.accepted(call)
    calls.launched("one", offered_at=0.0)
    ended = calls.gone(call, Cause.MEMORY)
    assert ended is not None
    assert ended.cause is Cause.MEMORY


def test_no_process_takes_a_call_that_is_not_its_own() -> None:
    calls = table()
    offered = calls.offer("offered", "RM_1")
    assert offered is not None
    running(calls, "taken")
    for job_id in ("offered", "taken", "unknown"):
        with pytest.raises(WrongOrderError):
            calls.started(job_id, pid=9)
    with pytest.raises(WrongOrderError):
        calls.gone(offered)
    calls.refused(offered)
    with pytest.raises(WrongOrderError):
        calls.accepted(offered)


async def test_a_drain_waits_for_calls_that_finish_and_for_no_offer() -> None:
    calls = table()
    await calls.drained()
    calls.offer("offered", "RM_1")
    await calls.drained()
    call = running(calls, "one")
    calls.caller_left(call)
    waiting = asyncio.create_task(calls.drained())
    await asyncio.sleep(0)
    assert not waiting.done()
    calls.gone(call)
    await waiting


def test_the_oldest_call_is_the_one_that_was_taken_first() -> None:
    calls = CallTable(3, 1, clock=lambda: 100.0)
    ages = [calls.oldest_seconds]
    first = running(calls, "one")
    calls.clock = lambda: 130.0
    running(calls, "two")
    calls.clock = lambda: 150.0
    ages.append(calls.oldest_seconds)
    calls.caller_left(first)
    ages.append(calls.oldest_seconds)
    calls.gone(first)
    ages.append(calls.oldest_seconds)
    assert ages == [None, 50.0, 50.0, 20.0]


@dataclass
class World:
    """Random events around a table, and what must hold after each."""

    draw: random.Random
    calls: CallTable
    offers: list[Call] = field(default_factory=list)
    accepted: list[Call] = field(default_factory=list)
    with_process: list[Call] = field(default_factory=list)
    resuming: list[Call] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    begun: set[str] = field(default_factory=set)
    ends: list[EndedCall] = field(default_factory=list)
    number: int = 0

    def step(self) -> None:
        offers, ends = [self.offer, self.answer], [self.leave, self.tell, self.die]
        others = [self.launch, self.start, self.close, self.give_up]
        others += [self.lose_its_process, self.go_on, self.lose_it_for_good]
        event = self.draw.choice([*offers, *offers, *ends, *others])
        event()
        self.check()

    def offer(self) -> None:
        self.number += 1
        again = self.draw.random() < 0.1 and self.offers
        job_id = self.draw.choice(self.offers).job_id if again else f"job-{self.number}"
        call = self.calls.offer(job_id, "RM_1")
        if call is not None:
            self.offers.append(call)
        elif not again:
            self.answers[job_id] += 1

    def answer(self) -> None:
        if not self.offers:
            return
        call = self.offers.pop(self.draw.randrange(len(self.offers)))
        self.answers[call.job_id] += 1
        if self.draw.random() < 0.8:
            self.calls.accepted(call)
            self.accepted.append(call)
            self.begun.add(call.job_id)
        else:
            self.calls.refused(call)

    def launch(self) -> None:
        for call in self.accepted[:1]:
            self.calls.launched(call.job_id, 0.0)

    def start(self) -> None:
        if self.accepted:
            call = self.accepted.pop(0)
            if self.calls.get(call.job_id) is call:
                self.calls.started(call.job_id, self.number)
                self.with_process.append(call)

    def leave(self) -> None:
        if self.with_process:
            self.calls.caller_left(self.draw.choice(self.with_process))

    def tell(self) -> None:
        if self.with_process:
            self.calls.told_its_end(self.draw.choice(self.with_process), TOLD)

    def die(self) -> None:
        if self.with_process:
            call = self.with_process.pop(self.draw.randrange(len(self.with_process)))
            self.ended(self.calls.gone(call, self.draw.choice([None, Cause.MEMORY])))
            # A second witness of the same death.
            assert self.calls.gone(call) is None

    def lose_its_process(self) -> None:
        running = [c for c in self.with_process if c.state is CallState.RUNNING and c.told is None]
        if running:
            call = self.draw.choice(running)
            self.with_process.remove(call)
            self.calls.died(call, gives_up=self.draw.random() < 0.2)
            self.resuming.append(call)

    def go_on(self) -> None:
        if self.resuming:
            call = self.resuming.pop(0)
            if self.draw.random() < 0.2:
                self.calls.died(call)
            with pytest.raises(WrongOrderError):
                self.calls.started(call.job_id, self.number)
            self.calls.started(call.current_job_id, self.number)
            self.with_process.append(call)

    def lose_it_for_good(self) -> None:
        if self.resuming:
            self.ended(self.calls.gone(self.resuming.pop()))

    def close(self) -> None:
        """LiveKit sees the end of a process that never said that it has a call."""
        for call in self.accepted[:1]:
            self.ended(self.calls.gone(call))

    def give_up(self) -> None:
        for call in self.accepted[:1]:
            self.ended(self.calls.never_began(call, Cause.NOT_ASSIGNED))

    def ended(self, ended: EndedCall | None) -> None:
        if ended is not None:
            self.ends.append(ended)

    def check(self) -> None:
        holding = [call for call in self.calls if call.holds_slot]
        labels = [call.slot for call in holding]
        alive = sum(1 for call in self.calls if call.pid is not None)
        finishing = [call for call in self.calls if call.state is CallState.FINISHING]
        assert self.calls.occupied == len(holding) <= self.calls.slots
        assert len(set(labels)) == len(labels)
        assert all(0 <= label < self.calls.slots for label in labels)
        assert alive <= self.calls.slots + self.calls.finishing_budget
        assert sum(not call.holds_slot for call in finishing) <= self.calls.finishing_budget
        assert all(call.holds_slot for call in self.calls if call.state is not CallState.FINISHING)
        assert max(self.answers.values(), default=1) == 1
        assert sum(self.calls.by_state().values()) == len(self.calls)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_in_whatever_order_its_promises_hold(seed: int) -> None:
    draw = random.Random(seed)
    slots = draw.randint(1, 6)
    world = World(draw, table(slots, finishing_budget=draw.randint(0, 3)))
    for _ in range(400):
        world.step()
    # What is left, ends: and then every call that began has ended once, for one cause.
    while world.offers:
        world.answer()
    for call in world.calls:
        world.ended(world.calls.gone(call))
    assert Counter(end.record.job_id for end in world.ends) == Counter(world.begun)
    assert all(end.record.outcome is OUTCOMES[end.cause] for end in world.ends)
    assert (len(world.calls), world.calls.occupied, world.calls.taken) == (0, 0, 0)


def test_after_ten_thousand_calls_nothing_is_kept() -> None:
    calls = table(slots=8, finishing_budget=2)
    for number in range(10_000):
        call = running(calls, f"job-{number}")
        calls.told_its_end(call, TOLD)
        calls.gone(call)
    assert len(calls) == 0
    assert calls.by_state() == dict.fromkeys(calls.by_state(), 0)

"""Admission: never a call more than slots, never an offer without a quick answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest
from livekit.agents import AssignmentTimeoutError, JobRequest
from livekit.agents.job import JobAcceptArguments
from livekit.protocol import agent

from voicefleet.pod.admission import REASONS, Admission, Handler
from voicefleet.pod.calls import CallTable, EndedCall
from voicefleet.pod.phase import PodState
from voicefleet.telemetry.call_report import CallRecord
from voicefleet.telemetry.messages import OUTCOMES, Cause, Outcome


class LiveKit:
    """The other end of an offer: LiveKit's two callbacks, and the calls that came of it."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self.answers: list[str] = []
        self.running: list[str] = []
        self.assign = asyncio.Event()
        self.accepted: list[JobAcceptArguments] = []
        self.on_reject: Callable[[], object] = lambda: None
        self.fails: Exception | None = None
        self.table: CallTable | None = None

    def offer(self) -> JobRequest:
        job = agent.Job(id=f"job-{next(self._numbers)}")
        return JobRequest(job=job, on_accept=self._accept, on_reject=self._reject)

    async def _accept(self, arguments: JobAcceptArguments) -> None:
        self.answers.append(f"accept {arguments.identity}")
        self.accepted.append(arguments)
        await self.assign.wait()
        if self.fails is not None:
            raise self.fails
        self.running.append(arguments.identity.removeprefix("agent-"))
        if self.table is not None:
            self.table.launched(self.running[-1], 0.0)

    async def _reject(self, terminate: bool) -> None:
        self.answers.append("reject for good" if terminate else "reject")
        self.on_reject()
        await asyncio.sleep(0)


@pytest.fixture
async def livekit() -> LiveKit:
    return LiveKit()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@dataclass
class Observer:
    """What the pod counts, and what LiveKit had heard by then."""

    livekit: LiveKit
    told: list[str] = field(default_factory=list)
    answers_before: list[list[str]] = field(default_factory=list)

    def taken(self) -> None:
        self._tell("taken")

    def refused(self, record: CallRecord) -> None:
        self._tell(record.cause.value)

    def ended(self, call: EndedCall) -> None:
        self._tell(f"ended {call.cause.value}")

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.answers_before.append(list(self.livekit.answers))


@dataclass
class Pod:
    """A pod that answers offers."""

    livekit: LiveKit
    slots: int = 1
    handler: Handler | None = None
    answer_within_seconds: float = 2.0
    is_overloaded: bool = False

    def __post_init__(self) -> None:
        self.table = self.livekit.table = CallTable(self.slots, finishing_budget=1)
        self.state = PodState()
        self.observer = Observer(self.livekit)
        self.admission = Admission(
            self.table,
            self.state,
            self.observer,
            self.handler,
            lambda: self.is_overloaded,
            self.answer_within_seconds,
        )

    async def answer(self) -> None:
        await self.admission.answer(self.livekit.offer())

    @property
    def told(self) -> list[str]:
        return self.observer.told


async def accept(request: JobRequest) -> None:
    await request.accept()


async def test_two_offers_in_the_same_moment_for_the_last_slot_give_one_call(
    livekit: LiveKit,
) -> None:
    pod = Pod(livekit)
    offers = [asyncio.create_task(pod.answer()) for _ in range(2)]
    await settle()
    assert sorted(livekit.answers) == ["accept agent-job-1", "reject"]
    livekit.assign.set()
    await asyncio.gather(*offers)
    assert (livekit.running, pod.table.occupied) == (["job-1"], 1)
    assert pod.told == ["taken", "no_slot"]


async def test_a_slot_is_free_again_when_its_call_has_ended(livekit: LiveKit) -> None:
    livekit.assign.set()
    pod = Pod(livekit)
    await pod.answer()
    pod.table.gone(pod.table.started("job-1", pid=7))
    await pod.answer()
    assert livekit.answers == ["accept agent-job-1", "accept agent-job-2"]


@pytest.mark.parametrize(
    ("error", "cause"),
    [(AssignmentTimeoutError(), "not_assigned"), (RuntimeError("no process"), "not_started")],
)
async def test_a_call_that_was_taken_and_never_begins_gives_its_slot_back_and_is_counted(
    livekit: LiveKit, error: Exception, cause: str
) -> None:
    livekit.assign.set()
    livekit.fails = error
    pod = Pod(livekit)
    with pytest.raises(type(error)):
        await pod.answer()
    assert (pod.table.occupied, pod.told) == (0, ["taken", f"ended {cause}"])


async def test_the_files_handler_decides_and_its_words_reach_livekit(livekit: LiveKit) -> None:
    livekit.assign.set()

    async def decide(request: JobRequest) -> None:
        await request.accept(
            name="Desk", identity="desk-3", metadata="m", attributes={"tenant": "north"}
        )

    await Pod(livekit, handler=decide).answer()
    assert livekit.answers == ["accept desk-3"]
    assert livekit.accepted == [JobAcceptArguments("Desk", "desk-3", "m", {"tenant": "north"})]


@pytest.mark.parametrize("handler", [None, accept], ids=["ours", "the file's"])
async def test_each_answer_is_counted_before_livekit_hears_of_it(
    livekit: LiveKit, handler: Handler | None
) -> None:
    """LiveKit may never assign what was taken, and that caller is not answered either."""
    pod = Pod(livekit, handler=handler)
    offers = [asyncio.create_task(pod.answer()) for _ in range(2)]
    await settle()
    livekit.assign.set()
    await asyncio.gather(*offers)
    assert sorted(livekit.answers) == ["accept agent-job-1", "reject"]
    before = dict(zip(pod.told, pod.observer.answers_before, strict=True))
    assert "accept agent-job-1" not in before["taken"]
    assert "reject" not in before["no_slot"]


async def test_the_files_handler_may_refuse_for_good_and_that_is_counted(livekit: LiveKit) -> None:
    async def refuse(request: JobRequest) -> None:
        await request.reject()

    pod = Pod(livekit, handler=refuse)
    await pod.answer()
    assert (livekit.answers, pod.told) == (["reject for good"], ["agent_file"])
    assert pod.table.occupied == 0


async def test_a_handler_that_gives_no_answer_in_time_is_answered_for(livekit: LiveKit) -> None:
    never = asyncio.Event()

    async def ponder(_: JobRequest) -> None:
        await never.wait()

    pod = Pod(livekit, handler=ponder, answer_within_seconds=0.05)
    await pod.answer()
    await settle()
    assert (livekit.answers, pod.told) == (["reject"], ["agent_file_failed"])
    assert pod.table.occupied == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_offer_that_is_given_up_leaves_no_task(livekit: LiveKit) -> None:
    """LiveKit cancels what it waits for when the worker closes."""
    never = asyncio.Event()

    async def ponder(_: JobRequest) -> None:
        await never.wait()

    answering = asyncio.create_task(Pod(livekit, handler=ponder).answer())
    await settle()
    answering.cancel()
    await asyncio.wait({answering})
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("when", ["cancelled", "while the refusal is sent", "afterwards"])
async def test_an_answer_after_the_refusal_is_heard_by_nobody(livekit: LiveKit, when: str) -> None:
    """LiveKit heard both answers, and the call was counted twice."""
    release = asyncio.Event()

    async def too_late(request: JobRequest) -> None:
        try:
            await release.wait()
            await request.accept()
        except asyncio.CancelledError:
            if when == "cancelled":
                await request.accept()
            raise
        finally:
            if when == "afterwards":
                await request.reject()

    pod = Pod(livekit, handler=too_late, answer_within_seconds=0.05)
    if when == "while the refusal is sent":
        livekit.on_reject = release.set
    await pod.answer()
    await settle()
    assert (livekit.answers, pod.told) == (["reject"], ["agent_file_failed"])
    assert len(pod.table) == 0


async def test_a_slow_assignment_is_not_a_slow_answer(livekit: LiveKit) -> None:
    pod = Pod(livekit, handler=accept, answer_within_seconds=0.05)
    answering = asyncio.create_task(pod.answer())
    await asyncio.sleep(0.2)
    livekit.assign.set()
    await answering
    assert livekit.answers == ["accept agent-job-1"]


def raises(_: JobRequest) -> None:
    raise ValueError("no calendar")


async def raises_later(_: JobRequest) -> None:
    raise ValueError("no calendar")


def says_nothing(_: JobRequest) -> None: ...


@pytest.mark.parametrize("handler", [raises, raises_later, says_nothing])
async def test_a_handler_without_an_answer_is_refused_logged_and_counted(
    livekit: LiveKit, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    """LiveKit refused for it, and no metric and no log of ours said so."""
    pod = Pod(livekit, handler=handler)
    await pod.answer()
    assert (livekit.answers, pod.told) == (["reject"], ["agent_file_failed"])
    assert pod.table.occupied == 0
    causes = [getattr(record, "cause", None) for record in caplog.records]
    assert "agent_file_failed" in causes
    assert ("no calendar" in caplog.text) is (handler is not says_nothing)


async def test_what_a_handler_does_after_its_answer_is_its_own(livekit: LiveKit) -> None:
    livekit.assign.set()
    done = []

    async def decide(request: JobRequest) -> None:
        await request.accept()
        await asyncio.sleep(0.1)
        done.append(request.id)

    await Pod(livekit, handler=decide, answer_within_seconds=0.05).answer()
    assert done == ["job-1"]


async def test_a_pod_that_drains_or_cannot_load_or_is_overloaded_refuses_and_says_why(
    livekit: LiveKit,
) -> None:
    """LiveKit's own refusals were counted by nobody."""
    pod = Pod(livekit, handler=accept)
    pod.is_overloaded = True
    await pod.answer()
    pod.state.prewarm_failures = 1
    await pod.answer()
    pod.state.begin_drain(60)
    await pod.answer()
    assert livekit.answers == ["reject"] * 3
    assert pod.told == ["overloaded", "not_warm", "draining"]


async def test_a_full_pod_is_called_full_and_not_overloaded(livekit: LiveKit) -> None:
    livekit.assign.set()
    pod = Pod(livekit)
    await pod.answer()
    pod.is_overloaded = True
    await pod.answer()
    assert pod.told == ["taken", "no_slot"]


def test_every_refusal_has_words() -> None:
    refusals = [cause for cause, outcome in OUTCOMES.items() if outcome is Outcome.REFUSED]
    assert set(refusals) - {Cause.NOT_ASSIGNED} == set(REASONS)

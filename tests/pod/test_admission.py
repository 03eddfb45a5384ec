"""Admission: never a call more than slots, never an offer without a quick answer."""

import asyncio
from itertools import count

import pytest
from livekit.agents import JobRequest
from livekit.agents.job import JobAcceptArguments
from livekit.protocol import agent

from voicefleet.pod.admission import Admission


class LiveKit:
    """The other end of an offer: LiveKit's two callbacks, and the calls that came of it."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self.answers: list[str] = []
        self.running: list[str] = []
        self.assign = asyncio.Event()

    def offer(self) -> JobRequest:
        job = agent.Job(id=f"job-{next(self._numbers)}")
        return JobRequest(job=job, on_accept=self._accept, on_reject=self._reject)

    async def _accept(self, arguments: JobAcceptArguments) -> None:
        self.answers.append(f"accept {arguments.identity}")
        await self.assign.wait()
        self.running.append(arguments.identity.removeprefix("agent-"))

    async def _reject(self, terminate: bool) -> None:
        self.answers.append("reject for good" if terminate else "reject")


@pytest.fixture
async def livekit() -> LiveKit:
    return LiveKit()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_two_offers_in_the_same_moment_for_the_last_slot_give_one_call(
    livekit: LiveKit,
) -> None:
    admission = Admission(slots=1, running=lambda: livekit.running)
    offers = [asyncio.create_task(admission.answer(livekit.offer())) for _ in range(2)]
    await settle()
    assert livekit.answers == ["accept agent-job-1", "reject"]
    livekit.assign.set()
    await asyncio.gather(*offers)
    assert (livekit.running, admission.taken) == (["job-1"], 1)


async def test_a_slot_is_free_again_when_its_call_has_ended(livekit: LiveKit) -> None:
    livekit.assign.set()
    admission = Admission(slots=1, running=lambda: livekit.running)
    await admission.answer(livekit.offer())
    livekit.running.clear()
    await admission.answer(livekit.offer())
    assert livekit.answers == ["accept agent-job-1", "accept agent-job-2"]


async def test_a_call_that_is_promised_and_already_runs_takes_one_slot(livekit: LiveKit) -> None:
    admission = Admission(slots=2, running=lambda: livekit.running)
    livekit.running.append("job-1")
    first = asyncio.create_task(admission.answer(livekit.offer()))
    await settle()
    assert admission.taken == 1
    livekit.assign.set()
    await first


async def test_an_assignment_that_never_comes_gives_the_slot_back() -> None:
    async def time_out(_: JobAcceptArguments) -> None:
        raise TimeoutError

    async def reject(_: bool) -> None: ...

    admission = Admission(slots=1, running=list)
    request = JobRequest(job=agent.Job(id="job"), on_accept=time_out, on_reject=reject)
    with pytest.raises(TimeoutError):
        await admission.answer(request)
    assert admission.taken == 0


async def test_the_files_handler_decides_and_its_words_reach_livekit(livekit: LiveKit) -> None:
    livekit.assign.set()

    async def decide(request: JobRequest) -> None:
        await request.accept(identity="desk-3")

    await Admission(1, lambda: livekit.running, decide).answer(livekit.offer())
    assert livekit.answers == ["accept desk-3"]


@pytest.mark.parametrize("has_handler", [False, True], ids=["ours", "the file's"])
async def test_a_call_counts_as_taken_before_livekit_hears_of_it_and_a_refused_one_never_does(
    livekit: LiveKit, has_handler: bool
) -> None:
    """LiveKit may never assign what was taken, and that caller is not answered either."""

    async def decide(request: JobRequest) -> None:
        await request.accept()

    taken: list[list[str]] = []
    admission = Admission(
        slots=1,
        running=lambda: livekit.running,
        handler=decide if has_handler else None,
        on_taken=lambda: taken.append(list(livekit.answers)),
    )
    offers = [asyncio.create_task(admission.answer(livekit.offer())) for _ in range(2)]
    await settle()
    livekit.assign.set()
    await asyncio.gather(*offers)
    assert sorted(livekit.answers) == ["accept agent-job-1", "reject"]
    (told_before,) = taken
    assert "accept agent-job-1" not in told_before


async def test_the_files_handler_may_refuse_for_good(livekit: LiveKit) -> None:
    async def refuse(request: JobRequest) -> None:
        await request.reject()

    await Admission(1, lambda: livekit.running, refuse).answer(livekit.offer())
    assert livekit.answers == ["reject for good"]


async def test_a_handler_that_gives_no_answer_is_answered_for(livekit: LiveKit) -> None:
    never = asyncio.Event()

    async def ponder(_: JobRequest) -> None:
        await never.wait()

    admission = Admission(1, lambda: livekit.running, ponder, answer_within_seconds=0.05)
    await admission.answer(livekit.offer())
    assert livekit.answers == ["reject"]
    assert admission.taken == 0


async def test_a_slow_assignment_is_not_a_slow_answer(livekit: LiveKit) -> None:
    async def decide(request: JobRequest) -> None:
        await request.accept()

    admission = Admission(1, lambda: livekit.running, decide, answer_within_seconds=0.05)
    answering = asyncio.create_task(admission.answer(livekit.offer()))
    await asyncio.sleep(0.2)
    livekit.assign.set()
    await answering
    assert livekit.answers == ["accept agent-job-1"]


async def test_a_handler_that_fails_leaves_the_answer_to_livekit_and_the_slot_free(
    livekit: LiveKit,
) -> None:
    """LiveKit refuses for a request function that raises without an answer."""

    def fail(_: JobRequest) -> None:
        raise ValueError("no calendar")

    admission = Admission(1, lambda: livekit.running, fail)
    with pytest.raises(ValueError, match="no calendar"):
        await admission.answer(livekit.offer())
    assert admission.taken == 0

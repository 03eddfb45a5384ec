"""The life of a pod, from its start to its end, in process: only LiveKit and the job processes are
stand-ins (`livekit_stand_in`, `pool_stand_in`).

`tests/promises` holds the same with a real LiveKit, real processes and real calls.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.pod.livekit_stand_in import Illness, LiveKitStandIn
from tests.pod.pods import impatient, running_pod
from tests.pod.pool_stand_in import PoolStandIn
from tests.waiting import wait_until
from voicefleet.errors import LiveKitError
from voicefleet.telemetry.messages import Cause, EndCall

# LiveKit waits for 3 s.
AT_ONCE_SECONDS = 1.0

ACCEPTS = """
async def on_request(request: JobRequest) -> None:
    await request.accept(name="Ada", metadata="vip", attributes={"desk": "3"})
"""
REJECTS = """
async def on_request(request: JobRequest) -> None:
    await request.reject()
"""
NEVER_ANSWERS = """
async def on_request(request: JobRequest) -> None:
    await asyncio.Event().wait()
"""
ANSWERS_TOO_LATE = """
async def on_request(request: JobRequest) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await request.accept()
"""
RAISES = """
async def on_request(request: JobRequest) -> None:
    raise ValueError("no calendar")
"""


# The start.


async def test_a_pod_is_ready_when_its_models_are_warm_and_livekit_has_taken_it(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    pool.is_prewarm_held = True
    livekit.registration_delay_seconds = 0.3
    async with running_pod(livekit, pool, tmp_path) as pod:
        await pool.until(lambda: len(pool.alive) == 2, because="two processes load")
        status, said = await pod.get("/startupz?verbose")
        assert (status, "[-]models-warm" in said, "[-]registered" in said) == (503, True, True)
        assert (await pod.drainz())["phase"] == "starting"
        await pool.release()

        async def only_registration_is_missing() -> bool:
            status, said = await pod.get("/startupz?verbose")
            return status == 503 and "[+]models-warm" in said

        await wait_until(only_registration_is_missing, because="models are warm before LiveKit")
        assert await pod.status("/readyz") == 503
        await pod.becomes_ready()
        assert await pod.status("/startupz") == 200
        assert await pod.status("/livez") == 200
        assert (await pod.drainz())["phase"] == "ready"
        assert await pod.metric("voicefleet_livekit_connected") == 1


async def test_a_pod_registers_under_the_agent_files_name_or_its_operators(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path):
        assert (await livekit.registered()).agent_name == "desk"
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_AGENT_NAME="front"):
        worker = await livekit.registered(times=2)
        assert worker.agent_name == "front"
        assert worker.permissions.can_publish


async def test_models_that_do_not_load_are_told_of_by_startupz_until_they_do(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    pool.prewarm_error = "the key is sk-123"
    async with running_pod(livekit, pool, tmp_path) as pod:

        async def says_so() -> bool:
            return "processes that failed to load" in (await pod.get("/startupz"))[1]

        await wait_until(says_so, because="/startupz tells of the failures")
        status, said = await pod.get("/startupz")
        assert (status, "sk-123" in said) == (503, False)
        assert await pod.status("/livez") == 200
        pool.prewarm_error = None
        await pod.becomes_ready()


async def test_a_pod_waits_for_a_livekit_that_is_not_there_yet(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    await livekit.go_away()
    async with running_pod(livekit, pool, tmp_path) as pod:
        assert await pod.status("/startupz") == 503
        assert await pod.status("/livez") == 200
        await livekit.come_back()
        await pod.becomes_ready()


async def test_a_pod_that_waits_for_livekit_leaves_when_it_is_told_to_stop(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    await livekit.go_away()
    async with running_pod(livekit, pool, tmp_path) as pod:
        await pod.drain()
        await pod.left()
    assert pool.jobs == []


async def test_a_wrong_secret_ends_the_pod_at_once(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path, LIVEKIT_API_SECRET="wrong" * 10) as pod:
        with pytest.raises(LiveKitError, match="refuses the key"):
            await pod.left()
    assert livekit.asked_at == []


@pytest.mark.parametrize(
    "illness", [Illness.CLOSES_AT_ONCE, Illness.REFUSES_WITH_401, Illness.REFUSES_WITH_503]
)
async def test_a_livekit_that_never_takes_the_pod_is_given_up_after_the_set_retries(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path, illness: Illness
) -> None:
    livekit.illness = illness
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_LIVEKIT_RETRIES="1") as pod:
        with pytest.raises(LiveKitError, match="is gone"):
            await pod.left()
    assert len(livekit.asked_at) == 2
    assert pool.alive == []


async def test_a_livekit_that_opens_the_connection_and_never_answers_is_asked_again(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    livekit.illness = Illness.NEVER_REGISTERS
    with impatient(0.3):
        async with running_pod(livekit, pool, tmp_path) as pod:
            await livekit.until(lambda: len(livekit.asked_at) == 2, because="it asks anew")
            livekit.illness = None
            await pod.becomes_ready()


# Offers.


async def test_an_offer_is_taken_with_one_answer_and_becomes_a_call(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        worker = await livekit.registered()
        offer = await livekit.offer(room="lobby")
        assert (await offer.answer(within_seconds=AT_ONCE_SECONDS)).available
        await offer.assign()
        job = await pool.job_of(offer.job.id)
        await pod.has_calls(1)
        await livekit.until(lambda: worker.load == pytest.approx(0.35), because="half is told")
        assert await pod.metric("voicefleet_calls_active") == 1
        job.ended()
        await pod.has_calls(0)
        ended = {"outcome": "completed", "cause": "caller_left"}
        await pod.has_counted(1, **ended)
        assert await pod.metric("voicefleet_calls_taken_total") == 1
    assert len(offer.answers) == 1


async def test_an_offer_is_refused_at_once_while_no_slot_is_free_and_taken_when_one_is(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_SLOTS="1") as pod:
        await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        await pod.has_calls(1)
        refused = await livekit.offer()
        answer = await refused.answer(within_seconds=AT_ONCE_SECONDS)
        assert (answer.available, answer.terminate) == (False, False)
        job.ended()
        await pod.has_calls(0)
        await pool.job_of(await livekit.place_call())
    assert len(refused.answers) == 1


async def test_two_offers_in_the_same_moment_for_the_last_slot_give_one_call(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_SLOTS="1"):
        await livekit.registered()
        offers = [await livekit.offer(), await livekit.offer()]
        answers = [await offer.answer(within_seconds=AT_ONCE_SECONDS) for offer in offers]
        assert sorted(answer.available for answer in answers) == [False, True]
        taken = next(offer for offer in offers if offer.answers[0].available)
        await taken.assign()
        await pool.job_of(taken.job.id)
    assert [len(offer.answers) for offer in offers] == [1, 1]


async def test_an_offer_that_is_taken_and_never_assigned_keeps_no_slot(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_SLOTS="1") as pod:
        await livekit.registered()
        assert (await (await livekit.offer()).answer()).available

        async def takes_the_next() -> bool:
            offer = await livekit.offer()
            if not (await offer.answer()).available:
                return False
            await offer.assign()
            await pool.job_of(offer.job.id)
            return True

        assert not await takes_the_next()
        await wait_until(takes_the_next, because="the slot is given back")
        await pod.has_calls(1)


async def test_what_the_files_handler_accepts_with_reaches_livekit(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path, on_request=ACCEPTS):
        await livekit.registered()
        offer = await livekit.offer()
        answer = await offer.answer(within_seconds=AT_ONCE_SECONDS)
        assert (answer.available, answer.participant_name) == (True, "Ada")
        assert answer.participant_metadata == "vip"
        assert answer.participant_attributes["desk"] == "3"
        await offer.assign()
        await pool.job_of(offer.job.id)
    assert len(offer.answers) == 1


async def test_what_the_files_handler_rejects_is_refused_for_good_and_counted(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path, on_request=REJECTS) as pod:
        await livekit.registered()
        offer = await livekit.offer()
        answer = await offer.answer(within_seconds=AT_ONCE_SECONDS)
        assert (answer.available, answer.terminate) == (False, True)
        await pod.has_counted(1, outcome="refused")
    assert len(offer.answers) == 1


async def test_a_handler_that_never_answers_is_answered_for_and_keeps_no_slot(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(
        livekit, pool, tmp_path, on_request=NEVER_ANSWERS, VOICEFLEET_SLOTS="1"
    ) as pod:
        await livekit.registered()
        offer = await livekit.offer()
        answer = await offer.answer(within_seconds=2.5)
        assert (answer.available, answer.terminate) == (False, False)
        assert (await pod.drainz())["calls"] == 0
        await pod.has_counted(1, outcome="refused")
    assert len(offer.answers) == 1


async def test_a_pod_whose_processes_no_longer_load_refuses_and_takes_calls_when_they_do(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        worker = await livekit.registered()
        pool.prewarm_error = "no weights"
        for job in pool.warm:
            job.dies()
        await livekit.until(lambda: worker.is_full, because="it reports full")
        refused = await livekit.offer()
        answer = await refused.answer(within_seconds=AT_ONCE_SECONDS)
        assert (answer.available, answer.terminate) == (False, False)
        assert await pod.status("/readyz") == 200
        pool.prewarm_error = None
        await pool.until(lambda: bool(pool.warm), because="a process loads again")
        await pool.job_of(await livekit.place_call())


async def test_a_handler_that_answers_when_it_is_given_up_gives_no_second_answer(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """LiveKit heard the refusal, and then that the call was taken."""
    async with running_pod(livekit, pool, tmp_path, on_request=ANSWERS_TOO_LATE) as pod:
        worker = await livekit.registered()
        offer = await livekit.offer()
        assert not (await offer.answer()).available
        # A second answer would come before the next report, on the same connection.
        reports = len(worker.statuses)
        await livekit.until(lambda: len(worker.statuses) > reports, because="it reports")
        assert len(offer.answers) == 1
        assert await pod.metric("voicefleet_calls_taken_total") == 0


async def test_a_handler_that_raises_is_refused_at_once_and_counted(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """It was refused, and counted nowhere."""
    async with running_pod(livekit, pool, tmp_path, on_request=RAISES) as pod:
        await livekit.registered()
        offer = await livekit.offer()
        assert not (await offer.answer(within_seconds=AT_ONCE_SECONDS)).available
        await pod.has_counted(1, outcome="refused")
    assert len(offer.answers) == 1


async def test_an_offer_that_is_refused_for_want_of_a_slot_is_counted(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """LiveKit's worker refused it by its own estimate, so that the pod never knew."""
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_SLOTS="1") as pod:
        await livekit.registered()
        await pool.job_of(await livekit.place_call())
        await pod.has_calls(1)
        assert not (await (await livekit.offer()).answer()).available
        refused = {"outcome": "refused", "cause": "no_slot"}
        await pod.has_counted(1, **refused)


@contextmanager
def hanging_memory() -> Iterator[threading.Event]:
    """A kernel that does not answer how much memory a process has; the event says that it was
    asked. It answers at the end.
    """
    asked, may_answer = threading.Event(), threading.Event()
    read_text = Path.read_text

    def read(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
        if path.name == "smaps_rollup":
            asked.set()
            may_answer.wait(10)
        return read_text(path, encoding, errors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_text", read)
        try:
            yield asked
        finally:
            may_answer.set()


async def test_a_kernel_that_weighs_calls_slowly_delays_no_answer_to_livekit(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """Six readings that hung on two cores kept LiveKit waiting for 5 s; it gives up after 3."""
    async with running_pod(livekit, pool, tmp_path) as pod:
        await livekit.registered()
        await pool.job_of(await livekit.place_call())
        await pod.has_calls(1)
        with hanging_memory() as asked:
            # More than there are threads to ask the kernel on.
            scrapes = [asyncio.create_task(pod.get("/metrics")) for _ in range(64)]
            await wait_until(asked.is_set, because="the kernel is asked")
            offer = await livekit.offer()
            try:
                assert (await offer.answer(within_seconds=AT_ONCE_SECONDS)).available
                await offer.assign()
            finally:
                for scrape in scrapes:
                    scrape.cancel()
                await asyncio.gather(*scrapes, return_exceptions=True)


# Calls.


async def test_a_caller_who_leaves_frees_the_slot_while_the_process_still_finishes(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """LiveKit hears of the free slot at once: by itself its worker reports every 2.5 s."""
    async with running_pod(livekit, pool, tmp_path, is_hurried=False, VOICEFLEET_SLOTS="1") as pod:
        worker = await livekit.registered()
        await livekit.until(lambda: bool(worker.statuses), because="it reports when it registers")
        first = await pool.job_of(await livekit.place_call())
        await pod.has_calls(1)
        reports = len(worker.statuses)
        first.caller_left()
        await livekit.until(
            lambda: len(worker.statuses) > reports,
            because="it tells the free slot",
            within_seconds=AT_ONCE_SECONDS,
        )
        assert worker.load < 0.7
        second = await pool.job_of(await livekit.place_call())
        assert first.is_alive
        first.ended()
        second.ended()
        await pod.has_calls(0)
        await pod.has_counted(2, outcome="completed")


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (None, "crashed"),
        ("job process exceeded memory limit, killing it", "memory"),
        ("process is unresponsive, killing process", "unresponsive"),
    ],
)
async def test_a_process_that_dies_is_a_failed_call_with_its_cause_and_a_free_slot(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path, words: str | None, cause: str
) -> None:
    async with running_pod(
        livekit, pool, tmp_path, VOICEFLEET_SLOTS="1", VOICEFLEET_RESUME="0"
    ) as pod:
        await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        await pod.has_calls(1)
        if words is None:
            job.dies()
        else:
            job.is_killed(words)
        await pod.has_calls(0)
        died = {"outcome": "failed", "cause": cause}
        await pod.has_counted(1, **died)
        await pool.job_of(await livekit.place_call())


async def test_a_call_survives_the_nonsense_that_its_process_says(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        job.say(b'{"type": "call_ended"}\n\xff\n')
        job.ended(Cause.AGENT_LEFT)
        await pod.has_calls(0)
        ended = {"outcome": "completed", "cause": "agent_left"}
        await pod.has_counted(1, **ended)


async def test_calls_go_on_while_livekit_is_away_and_the_pod_stays_ready(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        await livekit.go_away()
        assert await pod.status("/readyz") == 200
        assert (await pod.drainz())["calls"] == 1
        await livekit.come_back()
        await livekit.registered(times=2)
        await livekit.until(lambda: bool(livekit.job_reports), because="it brings its call")
        assert livekit.job_reports == [[job.job_id]]
        await pool.job_of(await livekit.place_call())
        assert job.is_alive
        assert (await pod.drainz())["calls"] == 2
        assert await pod.metric("voicefleet_livekit_connected") == 1
    assert len(livekit.workers) == 2


async def test_calls_that_still_finish_are_not_more_and_more_beside_a_full_pod(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """Six processes of a pod of one slot lived at once, each at the end of its own file."""
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_SLOTS="1"):
        worker = await livekit.registered()
        for _ in range(4):
            offer = await livekit.offer()
            if not (await offer.answer()).available:
                return
            await offer.assign()
            job = await pool.job_of(offer.job.id)
            reports = len(worker.statuses)
            job.caller_left()
            await livekit.until(
                lambda seen=reports: len(worker.statuses) > seen,  # type: ignore[misc]
                because="the pod has heard that the caller left",
            )
        pytest.fail("four calls finish at once in a pod of one slot, and it takes the next")


async def test_a_full_pod_keeps_one_process_warm_for_whoever_calls_next(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_SLOTS="1"):
        worker = await livekit.registered()
        await pool.job_of(await livekit.place_call())
        await livekit.until(lambda: worker.load == pytest.approx(0.7), because="it is full")
        for spare in pool.warm:
            spare.dies()
        await pool.until(
            lambda: bool(pool.warm),
            because="a process waits for a call",
            within_seconds=AT_ONCE_SECONDS,
        )


async def test_a_slot_that_is_free_again_has_a_warm_process(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """After a full pod the next callers waited for a process to be made."""
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_SLOTS="1"):
        worker = await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        await livekit.until(lambda: worker.load == pytest.approx(0.7), because="it is full")
        for spare in pool.warm:
            spare.dies()
        job.caller_left()
        await pool.until(
            lambda: bool(pool.warm),
            because="a process waits for a call",
            within_seconds=AT_ONCE_SECONDS,
        )


# The end.


async def test_a_drain_takes_nothing_new_waits_for_the_call_and_leaves(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        worker = await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        await pod.has_calls(1)
        report = await pod.drain()
        assert (report["phase"], report["calls"]) == ("draining", 1)
        assert await pod.status("/readyz") == 503
        assert await pod.status("/livez") == 200
        await livekit.until(lambda: worker.is_full, because="it reports full")
        refused = await livekit.offer()
        answer = await refused.answer(within_seconds=AT_ONCE_SECONDS)
        assert (answer.available, answer.terminate) == (False, False)
        assert not pod.life.done()
        assert not job.was_ordered_to_end()
        job.ended()
        await pod.left()
    assert not worker.is_connected
    assert pool.alive == []


async def test_a_pod_without_a_call_leaves_at_once(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        await pod.becomes_ready()
        await pod.drain()
        await pod.left(within_seconds=2.0)
    assert pool.alive == []


async def test_a_further_order_to_stop_changes_nothing(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        signal.raise_signal(signal.SIGTERM)

        async def is_draining() -> bool:
            return bool((await pod.drainz())["phase"] == "draining")

        await wait_until(is_draining, because="the first signal begins the drain")
        deadline = (await pod.drainz())["drain_deadline_at"]
        signal.raise_signal(signal.SIGTERM)
        assert (await pod.drain())["drain_deadline_at"] == deadline
        assert job.is_alive
        assert not job.was_ordered_to_end()
        job.ended()
        await pod.left()


async def test_a_drain_past_its_deadline_has_the_call_ended_with_words_and_leaves(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_DRAIN_TIMEOUT_SECONDS="1") as pod:
        await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        job.obeys = False
        await pod.drain()
        await pool.until(job.was_ordered_to_end, because="the call is ended politely")
        assert job.orders[-1] == EndCall(cause=Cause.DRAINED)
        assert not pod.life.done()
        job.ended(Cause.DRAINED)
        await pod.left()


async def test_a_pod_that_is_told_to_stop_while_livekit_is_away_waits_for_its_call(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        await livekit.go_away()
        assert (await pod.drain())["calls"] == 1
        assert not pod.life.done()
        job.ended()
        await pod.left()


async def test_a_livekit_that_goes_for_good_ends_the_pod_when_its_call_has_ended(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_LIVEKIT_RETRIES="1") as pod:
        await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        await livekit.go_away()

        async def is_draining() -> bool:
            return bool((await pod.drainz())["phase"] == "draining")

        await wait_until(is_draining, because="the pod has given LiveKit up")
        assert job.is_alive
        job.ended()
        with pytest.raises(LiveKitError, match="is gone"):
            await pod.left()


async def test_a_drain_counts_the_calls_that_still_finish(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """/drainz said 0 while the drain waited."""
    async with running_pod(livekit, pool, tmp_path) as pod:
        await livekit.registered()
        job = await pool.job_of(await livekit.place_call())
        await pod.has_calls(1)
        job.caller_left()

        async def is_known() -> bool:
            return await pod.metric("voicefleet_calls_active") == 0

        await wait_until(is_known, because="the pod knows that the caller has left")
        assert (await pod.drain())["calls"] == 1


@pytest.mark.timeout(10)
async def test_two_calls_that_end_in_the_same_moment_are_no_end_of_a_drain(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """`AgentServer.drain` joins one process after the other, and looks again at once whether any is
    left. Of two that end in the same turn of the loop, the second has ended and is still listed:
    joining it does not wait, so the look is repeated for ever, and nothing else runs, the deadline
    included (livekit-agents 1.8.9, worker.py).
    """
    async with running_pod(livekit, pool, tmp_path) as pod:
        await livekit.registered()
        jobs = [await pool.job_of(await livekit.place_call()) for _ in range(2)]
        await pod.has_calls(2)
        await pod.drain()
        for job in jobs:
            job.ended()
        await pod.left()

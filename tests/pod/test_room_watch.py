"""A call without a session: the pod itself looks whether its caller is still there."""

import asyncio
from pathlib import Path

import pytest
from livekit.protocol.models import ParticipantInfo

from tests.pod.livekit_stand_in import LiveKitStandIn
from tests.pod.pods import running_pod
from tests.pod.pool_stand_in import JobStandIn, PoolStandIn
from voicefleet.pod import room_watch
from voicefleet.pod.calls import Call, CallState, CallTable
from voicefleet.pod.room_watch import FIRST_LOOK_SECONDS, is_unseen, verdict
from voicefleet.telemetry.call_report import CallTotals
from voicefleet.telemetry.messages import Cause, EndCall, Order, SessionsOpen

CALLER = ParticipantInfo.Kind.STANDARD
AGENT = ParticipantInfo.Kind.AGENT
RECORDER = ParticipantInfo.Kind.EGRESS


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_watch, "LOOK_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(room_watch, "FIRST_LOOK_SECONDS", 0.1)


def ends(job: JobStandIn) -> list[Order]:
    """The orders to end that the call was given."""
    return [order for order in job.orders if isinstance(order, EndCall)]


async def test_the_slot_of_an_entrypoint_that_hangs_is_free_when_its_caller_has_gone(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    """It was taken for ever: the room was long gone, and the next caller unanswered."""
    livekit.participants["kiosk"] = [CALLER, AGENT]
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_SLOTS="1") as pod:
        await pod.becomes_ready()
        job = await pool.job_of(await livekit.place_call(room="kiosk"))
        job.obeys = False
        await livekit.until(lambda: "kiosk" in livekit.rooms_asked, because="it is looked after")
        await asyncio.sleep(0.3)
        assert ends(job) == []
        # An agent and a recorder are no callers.
        livekit.participants["kiosk"] = [AGENT, RECORDER]
        await pool.until(
            lambda: ends(job) == [EndCall(cause=Cause.CALLER_LEFT)], because="it is to leave"
        )
        drainz = await pod.drainz()
        assert (drainz["free_slots"], drainz["calls_by_state"]["finishing"]) == (1, 1)
        assert await livekit.place_call(room="next")
        job.ended(Cause.CALLER_LEFT)
        await pod.has_counted(1, outcome="completed", cause="caller_left")


async def test_a_call_with_a_session_is_not_asked_about_until_its_last_one_has_closed(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path) as pod:
        await pod.becomes_ready()
        job = await pool.job_of(await livekit.place_call(room="desk"))
        job.tell(SessionsOpen(count=1))
        await asyncio.sleep(0.4)
        asked = len(livekit.rooms_asked)
        await asyncio.sleep(0.3)
        assert (len(livekit.rooms_asked), ends(job)) == (asked, [])
        # Another visitor is there, whom the file may serve next.
        livekit.participants["desk"] = [CALLER]
        job.tell(SessionsOpen(count=0))
        await livekit.until(
            lambda: len(livekit.rooms_asked) > asked + 2, because="it is looked after"
        )
        assert ends(job) == []
        livekit.participants["desk"] = []
        await pool.until(job.was_ordered_to_end, because="nobody is left")


async def test_a_room_that_nobody_enters_is_waited_for_as_long_as_the_setting_says(
    livekit: LiveKitStandIn, pool: PoolStandIn, tmp_path: Path
) -> None:
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_EMPTY_ROOM_SECONDS="0.6") as pod:
        await pod.becomes_ready()
        job = await pool.job_of(await livekit.place_call(room="empty"))
        await asyncio.sleep(0.4)
        assert ends(job) == []
        await pool.until(
            lambda: ends(job) == [EndCall(cause=Cause.NOBODY_CAME)], because="nobody came"
        )
        await pod.has_counted(1, outcome="completed", cause="nobody_came")


async def test_what_livekit_does_not_tell_ends_no_call(
    livekit: LiveKitStandIn,
    pool: PoolStandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room_watch, "ANSWER_WITHIN_SECONDS", 0.1)
    async with running_pod(livekit, pool, tmp_path, VOICEFLEET_EMPTY_ROOM_SECONDS="0") as pod:
        await pod.becomes_ready()
        livekit.participants["desk"] = [CALLER]
        job = await pool.job_of(await livekit.place_call(room="desk"))
        await livekit.until(lambda: "desk" in livekit.rooms_asked, because="it is looked after")
        await livekit.go_away()
        await asyncio.sleep(0.5)
        assert ends(job) == []
        await livekit.come_back()


def call_of(state: CallState = CallState.RUNNING, **fields: int) -> Call:
    call = Call("job", "RM_1", 0.0, 0, CallTotals(), state=state, launched_at=100.0, pid=7)
    for name, value in fields.items():
        setattr(call, name, value)
    return call


def test_only_a_call_with_a_process_and_without_a_session_is_looked_after() -> None:
    late = 100.0 + FIRST_LOOK_SECONDS + 1
    assert is_unseen(call_of(), late)
    assert not is_unseen(call_of(), 100.0)
    assert not is_unseen(call_of(open_sessions=1), late)
    for state in set(CallState) - {CallState.RUNNING}:
        assert not is_unseen(call_of(state), late)


def test_a_caller_who_was_seen_once_is_missed_at_once_and_one_who_never_came_is_waited_for() -> (
    None
):
    call = call_of()
    assert verdict(call, 0, now=110.0, empty_room_seconds=30) is None
    assert verdict(call, 0, now=130.0, empty_room_seconds=30) is Cause.NOBODY_CAME
    assert verdict(call, 1, now=131.0, empty_room_seconds=30) is None
    assert verdict(call, 0, now=132.0, empty_room_seconds=30) is Cause.CALLER_LEFT


def test_a_call_whose_session_has_closed_has_had_its_caller() -> None:
    """It was waited for as for one who never came."""
    calls = CallTable(1, 1)
    call = call_of()
    calls.sessions_open(call, 1)
    assert not call.was_entered
    calls.sessions_open(call, 0)
    assert verdict(call, 0, now=101.0, empty_room_seconds=30) is Cause.CALLER_LEFT

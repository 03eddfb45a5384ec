"""A call beside its pod: what it obeys, what it tells, and what of it ends with it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import AgentSession, CloseReason, JobExecutorType

from tests.job import test_call, test_entrypoint
from tests.job.test_ending import Voice
from tests.waiting import wait_until
from voicefleet.job import call, descendants, rooms
from voicefleet.job.pod_client import POD_CLIENT
from voicefleet.job.prewarm import AGENT_FILE
from voicefleet.telemetry.messages import (
    CallEnded,
    CallEnding,
    CallStarted,
    Cause,
    EndCall,
    Fact,
    SessionsOpen,
)

pytestmark = pytest.mark.usefixtures("clean_environment")


class Pod(test_entrypoint.Pod):
    """One that orders what a test tells it to; it hears of facts by itself while `delivers`."""

    def __init__(self) -> None:
        super().__init__()
        self.given = asyncio.Queue[EndCall]()
        self.delivers = False

    async def orders(self) -> AsyncIterator[EndCall]:
        while True:
            yield await self.given.get()

    async def deliver(self) -> None:
        self.delivers = True
        try:
            await super().deliver()
        finally:
            self.delivers = False

    async def flush(self) -> None:
        # The event loop knows one writer for each socket.
        assert not self.delivers
        await super().flush()


class Call(test_entrypoint.Call):
    """Of two callers and an agent file whose entrypoint returns at once; `session` is what it has
    started.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pod: Pod = Pod()
        self.session: Voice | None = None
        self.said = list[str]()
        self.proc.userdata[POD_CLIENT] = self.pod
        self.rooms_deleted = 0
        for who in ("anna", "bert"):
            self.room.remote_participants[who] = SimpleNamespace(
                kind=rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD,
                attributes={},
                track_publications={},
            )

    @property
    def hosted(self) -> Any:
        return self.proc.userdata[AGENT_FILE]

    @property
    def primary_session(self) -> Any:
        if self.session is None:
            raise RuntimeError("none has started")
        return self.session

    async def delete_room(self) -> None:
        self.rooms_deleted += 1

    def leaves(self, who: str, reason: Any = rtc.DisconnectReason.CLIENT_INITIATED) -> None:
        gone = self.room.remote_participants.pop(who)
        gone.disconnect_reason = reason
        self.room.emit("participant_disconnected", gone)

    def told(self, kind: type[Fact]) -> list[Any]:
        return [fact for fact in self.pod.told if isinstance(fact, kind)]


@asynccontextmanager
async def answered(prepare: Callable[[Call], object] = lambda _: None) -> AsyncIterator[Call]:
    """A call that is on; at the end its job shuts down, if it has not."""
    one: Any = Call()
    prepare(one)
    await call.answer(one)
    try:
        yield one
    finally:
        await shut_down(one, "room disconnected")


def with_session(one: Call) -> None:
    one.session = Voice(one.said)


async def shut_down(one: Call, reason: str) -> None:
    callbacks, one.callbacks = one.callbacks, []
    for callback in callbacks:
        await callback(reason)


async def test_a_call_is_ended_by_an_order_of_its_pod_for_the_pods_cause() -> None:
    async with answered(with_session) as one:
        assert one.told(CallStarted) == [CallStarted(job_id="AJ_1")]
        one.pod.given.put_nowait(EndCall(cause=Cause.DRAINED))
        await wait_until(lambda: one.ended_for == ["drained"], because="the job is shut down")
        assert [words.partition(" ")[0] for words in one.said] == ["interrupt", "say"]
        assert one.rooms_deleted == 1
        # LiveKit gives its own reason.
        await shut_down(one, "room disconnected")
        assert [fact.cause for fact in one.told(CallEnded)] == [Cause.DRAINED]
        assert one.pod.has_everything


async def test_an_entrypoint_that_waits_where_nobody_is_ends_without_a_farewell() -> None:
    """It waited for a caller who had gone, and kept its slot for as long."""
    one: Any = Call()
    one.session = Voice(one.said)

    async def waits(_: object) -> None:
        await asyncio.Event().wait()

    one.hosted.entrypoint = waits
    answering = asyncio.create_task(call.answer(one))
    await wait_until(lambda: one.pod.delivers, because="the call has begun")
    one.pod.given.put_nowait(EndCall(cause=Cause.NOBODY_CAME))
    await asyncio.wait({answering}, timeout=5)
    assert answering.done()
    assert (one.ended_for, one.said) == (["nobody_came"], [])
    await shut_down(one, "job crashed")
    assert [fact.cause for fact in one.told(CallEnded)] == [Cause.NOBODY_CAME]


async def test_a_call_that_lasts_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICEFLEET_CALL_LONGEST_SECONDS", "0.2")
    async with answered() as one:
        await asyncio.sleep(0.05)
        assert one.ended_for == []
        await wait_until(lambda: one.ended_for == ["too_long"], because="its time is over")


async def test_nothing_of_a_call_runs_on_when_its_end_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A limit that came after the end would have deleted the room of the next call."""
    monkeypatch.setenv("VOICEFLEET_CALL_LONGEST_SECONDS", "0.2")
    before, start = asyncio.all_tasks(), AgentSession.start
    async with answered() as one:
        assert AgentSession.start is not start
        assert {task.get_name() for task in asyncio.all_tasks() - before} == {
            "facts for the pod",
            "orders of the pod",
            "the loop turns",
            "look for the caller",
            "longest call",
        }
        await shut_down(one, "user requested")
        assert asyncio.all_tasks() - before == set()
        assert AgentSession.start is start
        assert one.ended_for == []
        [ended] = one.told(CallEnded)
        assert (ended.cause, ended.seconds < 5) == (Cause.AGENT_LEFT, True)


async def test_the_slot_is_given_back_when_the_last_caller_has_hung_up_and_not_before() -> None:
    """The session takes seconds to close, and the next caller waits."""
    async with answered(with_session) as one:
        one.leaves("anna")
        assert one.told(CallEnding) == []
        one.leaves("bert")
        assert len(one.told(CallEnding)) == 1
        assert one.ended_for == []


async def test_a_caller_whose_line_was_lost_keeps_the_slot() -> None:
    """LiveKit lets the session wait for one who comes back."""
    async with answered(with_session) as one:
        one.leaves("bert")
        one.leaves("anna", rtc.DisconnectReason.STATE_MISMATCH)
        assert one.told(CallEnding) == []


async def test_the_programs_of_a_call_are_ended_with_its_loop_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a shutdown callback of the agent file still needs would have been killed under it."""
    ended = list[bool]()
    monkeypatch.setattr(descendants, "end_descendants", lambda: ended.append(True))

    def as_process(one: Call) -> None:
        one.proc.executor_type = JobExecutorType.PROCESS

    async with answered(as_process) as one:
        # Where it has not begun to wait, a cancelled task does nothing.
        await asyncio.sleep(0)
        await shut_down(one, "user requested")
        assert ended == []
        [last] = [t for t in asyncio.all_tasks() if t.get_name() == "end the call's programs"]
        last.cancel()
        await asyncio.gather(last, return_exceptions=True)
        assert ended == [True]


async def test_a_call_on_a_thread_ends_no_program_of_its_process() -> None:
    """In LiveKit's console they are not the call's."""
    async with answered():
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert "end the call's programs" not in names


async def run(handler: Any, name: str, one: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    setattr(one.hosted, name, handler)
    monkeypatch.setattr(call, "get_job_context", lambda: one)
    if name == "on_session_end":
        await call.end(one)
    else:
        await call.simulation_ended("simulation")


@pytest.mark.parametrize("name", ["on_session_end", "on_simulation_end"])
async def test_a_handler_of_the_agent_file_may_be_plain_or_async_or_missing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = list[Any]()

    async def waits(argument: Any) -> None:
        await asyncio.sleep(0)
        given.append(argument)

    async with answered() as one:
        argument = one if name == "on_session_end" else "simulation"
        await run(given.append, name, one, monkeypatch)
        assert given == [argument]
        await run(waits, name, one, monkeypatch)
        assert given == [argument] * 2
        await run(None, name, one, monkeypatch)
        assert given == [argument] * 2


async def test_a_caller_who_leaves_ends_the_job_when_the_entrypoint_is_done_and_not_before() -> (
    None
):
    """What the agent file does after the conversation, as writing it down, was cut off."""
    one: Any = Call()
    release = asyncio.Event()

    async def writes_down(_: object) -> None:
        await release.wait()

    one.hosted.entrypoint = writes_down
    answering = asyncio.create_task(call.answer(one))
    await wait_until(lambda: one.pod.delivers, because="the call has begun")
    session = await test_call.started()
    one.room.remote_participants.clear()
    await test_call.close(session, CloseReason.PARTICIPANT_DISCONNECTED)
    await asyncio.sleep(0.05)
    assert one.ended_for == []
    release.set()
    await answering
    await wait_until(lambda: one.ended_for == ["caller_left"], because="nobody is left")
    # By these the pod knows whether to look after the room itself.
    assert [fact.count for fact in one.told(SessionsOpen)] == [1, 0]
    await shut_down(one, "caller_left")


async def test_an_entrypoint_that_failed_keeps_no_call_whose_caller_leaves() -> None:
    one: Any = Call()

    async def fails(_: object) -> None:
        one.started_session = await test_call.started()
        raise ValueError("no calendar")

    one.hosted.entrypoint = fails
    with pytest.raises(ValueError, match="no calendar"):
        await call.answer(one)
    one.room.remote_participants.clear()
    await test_call.close(one.started_session, CloseReason.PARTICIPANT_DISCONNECTED)
    await wait_until(lambda: one.ended_for == ["caller_left"], because="nobody is left")
    await shut_down(one, "caller_left")


@pytest.mark.parametrize(
    ("leaving", "setting", "is_deleted"),
    [
        (["anna", "bert"], "true", True),
        (["anna", "bert"], "false", False),
        (["anna"], "true", False),
    ],
)
async def test_the_room_that_its_callers_have_left_goes_with_the_call_whatever_the_file_does(
    monkeypatch: pytest.MonkeyPatch, leaving: list[str], setting: str, is_deleted: bool
) -> None:
    """A caller who rang again came into the old room, to which LiveKit sends no second agent."""
    asked = list[Any]()

    async def note(ctx: Any, _: asyncio.Event) -> None:
        asked.append(ctx)

    def fails(_: object) -> None:
        raise ValueError("the file's own")

    monkeypatch.setattr(rooms, "free", note)
    monkeypatch.setenv("VOICEFLEET_DELETE_EMPTY_ROOM", setting)
    async with answered() as one:
        for who in leaving:
            one.leaves(who)
        one.hosted.on_session_end = fails
        with pytest.raises(ValueError, match="the file's own"):
            await call.end(one)  # type: ignore[arg-type]
        assert asked == ([one] if is_deleted else [])

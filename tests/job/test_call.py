"""A call with several sessions: what is supervised of each, and what ends the call."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, CloseReason, JobExecutorType
from livekit.protocol import agent, models

from tests.waiting import wait_until
from voicefleet import settings as settings_module
from voicefleet.job import call as call_module
from voicefleet.job import rooms
from voicefleet.job.call import CallSupervisor
from voicefleet.job.ending import Ending
from voicefleet.livekit_compat import session as livekit_session

pytestmark = pytest.mark.usefixtures("clean_environment")


class Call:
    """The parts of LiveKit's JobContext that a supervisor uses."""

    def __init__(self) -> None:
        self.room = Room()
        self.job = agent.Job(room=models.Room(empty_timeout=300))
        self.proc = SimpleNamespace(executor_type=JobExecutorType.THREAD)
        self.ended_for: list[str] = []
        self.callbacks: list[Callable[[str], Awaitable[None]]] = []

    @property
    def primary_session(self) -> AgentSession[Any]:
        raise RuntimeError("whoever it is")

    def add_shutdown_callback(self, callback: Callable[[str], Awaitable[None]]) -> None:
        self.callbacks.append(callback)

    def is_fake_job(self) -> bool:
        return True

    async def delete_room(self) -> None:
        """Nobody is in it."""

    def shutdown(self, reason: str) -> None:
        self.ended_for.append(reason)


class Room(rtc.EventEmitter[str]):
    def __init__(self) -> None:
        super().__init__()
        anna = SimpleNamespace(
            kind=rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD,
            attributes={},
            disconnect_reason=rtc.DisconnectReason.CLIENT_INITIATED,
        )
        self.remote_participants: dict[str, Any] = {"anna": anna}


@asynccontextmanager
async def supervised() -> AsyncIterator[Call]:
    """A call that is supervised by the settings of this environment, without a pod."""
    call = Call()
    supervisor = CallSupervisor(call, settings_module.load(), None)  # type: ignore[arg-type]
    supervisor.begin()
    supervisor.entrypoint_ended()
    try:
        yield call
    finally:
        for callback in call.callbacks:
            await callback("the test is over")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """ "again" for each other agent that was asked for."""
    found = list[str]()

    async def note(_: object) -> None:
        found.append("again")

    monkeypatch.setattr(rooms, "dispatch_again", note)
    return found


def livekit_tells(monkeypatch: pytest.MonkeyPatch, *answers: bool | None) -> list[object]:
    """Whether a caller is in the room, one time after the other; the last answer stays. Returned is
    who has asked.
    """
    left, asked = list(answers), list[object]()

    async def has_caller(ctx: object) -> bool | None:
        asked.append(ctx)
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(rooms, "has_caller", has_caller)
    return asked


async def started() -> AgentSession[None]:
    session = AgentSession[None](vad=None, turn_handling={"turn_detection": None})
    await session.start(Agent(instructions=""))
    return session


async def close(session: AgentSession[None], reason: CloseReason) -> None:
    session._close_soon(reason=reason)
    await wait_until(lambda: session.agent_state == "initializing", because="it has closed")


async def test_a_call_in_which_a_later_session_is_loud_is_not_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VOICEFLEET_CALL_SILENCE_SECONDS", "0.3")
    async with supervised() as call:
        first, second = await started(), await started()
        second._update_user_state("speaking")
        await asyncio.sleep(0.6)
        assert call.ended_for == []
        second._update_user_state("listening")
        await wait_until(lambda: call.ended_for == ["silent"], because="both are silent")
        await close(first, CloseReason.USER_INITIATED)
        await close(second, CloseReason.USER_INITIATED)


async def test_a_guest_who_leaves_a_session_of_their_own_ends_no_call_of_others() -> None:
    """Where the first session's guest left, the job was shut down under the others."""
    async with supervised() as call:
        first, second = await started(), await started()
        await close(first, CloseReason.PARTICIPANT_DISCONNECTED)
        await asyncio.sleep(0)
        assert call.ended_for == []
        call.room.remote_participants.clear()
        await close(second, CloseReason.PARTICIPANT_DISCONNECTED)
        await wait_until(lambda: call.ended_for == ["caller_left"], because="nobody is left")


async def test_the_next_visitor_is_not_left_alone_when_the_first_has_gone() -> None:
    """A kiosk opened a session for the next visitor, and was gone after a second."""
    async with supervised() as call:
        first = await started()
        await close(first, CloseReason.PARTICIPANT_DISCONNECTED)
        await asyncio.sleep(0.05)
        assert call.ended_for == []
        second = await started()
        call.room.remote_participants.clear()
        await close(second, CloseReason.PARTICIPANT_DISCONNECTED)
        await wait_until(lambda: call.ended_for == ["caller_left"], because="nobody is left")


async def test_a_session_that_nobody_closes_keeps_no_empty_room() -> None:
    async with supervised() as call:
        first, second = await started(), await started()
        call.room.remote_participants.clear()
        await close(first, CloseReason.PARTICIPANT_DISCONNECTED)
        await wait_until(lambda: call.ended_for == ["caller_left"], because="nobody is left")
        await close(second, CloseReason.USER_INITIATED)


async def test_a_caller_who_leaves_before_the_session_has_met_them_keeps_no_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The session waited for the next one, and the job for LiveKit to close the room."""
    monkeypatch.setattr(call_module, "STILL_EMPTY_SECONDS", 0.1)
    monkeypatch.setattr(Ending, "somebody_left", lambda *_: True)
    async with supervised() as call:
        session = await started()
        call.room.emit("participant_disconnected", call.room.remote_participants.pop("anna"))
        await wait_until(lambda: call.ended_for == ["caller_left"], because="nobody is left")
        await close(session, CloseReason.USER_INITIATED)


async def test_a_caller_who_is_back_in_a_moment_keeps_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_module, "STILL_EMPTY_SECONDS", 0.1)
    monkeypatch.setattr(Ending, "somebody_left", lambda *_: True)
    async with supervised() as call:
        session = await started()
        call.room.emit("participant_disconnected", call.room.remote_participants["anna"])
        await asyncio.sleep(0.2)
        assert call.ended_for == []
        await close(session, CloseReason.USER_INITIATED)


async def test_one_who_is_back_while_the_job_ends_is_dispatched_for(asked: list[str]) -> None:
    """What an agent file does at the end of a call may take a minute."""
    async with supervised() as call:
        session = await started()
        anna = call.room.remote_participants.pop("anna")
        await close(session, CloseReason.PARTICIPANT_DISCONNECTED)
        await wait_until(lambda: call.ended_for == ["caller_left"], because="nobody is left")
        recorder = SimpleNamespace(kind=rtc.ParticipantKind.PARTICIPANT_KIND_EGRESS)
        call.room.emit("participant_connected", recorder)
        await asyncio.sleep(0.05)
        assert asked == []
        call.room.emit("participant_connected", anna)
        await wait_until(lambda: asked == ["again"], because="another agent is asked for")


async def test_a_session_for_the_next_visitor_outlives_the_entrypoint() -> None:
    """The job was shut down under it as soon as the entrypoint had returned."""
    call = Call()
    supervisor = CallSupervisor(call, settings_module.load(), None)  # type: ignore[arg-type]
    supervisor.begin()
    first = await started()
    anna = call.room.remote_participants.pop("anna")
    await close(first, CloseReason.PARTICIPANT_DISCONNECTED)
    call.room.remote_participants["bert"] = anna
    second = await started()
    supervisor.entrypoint_ended()
    await asyncio.sleep(0.05)
    assert call.ended_for == []
    call.room.remote_participants.clear()
    await close(second, CloseReason.PARTICIPANT_DISCONNECTED)
    await wait_until(lambda: call.ended_for == ["caller_left"], because="nobody is left")
    for callback in call.callbacks:
        await callback("the test is over")


@pytest.mark.parametrize(
    ("at_the_beginning", "later", "ends_with_its_caller", "ends"),
    [
        (True, False, True, True),
        # LiveKit tells the room of them later.
        (True, True, True, False),
        # The agent was there first, and dials out.
        (False, False, True, False),
        # What LiveKit does not tell ends no call.
        (None, False, True, False),
        (True, None, True, False),
        # The file has it wait for one who comes back.
        (True, False, False, False),
    ],
)
async def test_a_caller_who_left_before_the_agent_was_in_the_room_keeps_no_slot(
    monkeypatch: pytest.MonkeyPatch,
    at_the_beginning: bool | None,
    later: bool | None,
    ends_with_its_caller: bool,
    ends: bool,
) -> None:
    """The agent met nobody, and waited until LiveKit closed the room after 20 s."""
    livekit_tells(monkeypatch, at_the_beginning, later)
    monkeypatch.setattr(livekit_session, "is_waiting", lambda _: True)
    monkeypatch.setattr(livekit_session, "ends_with_its_caller", lambda _: ends_with_its_caller)
    monkeypatch.setattr(call_module, "MEETS_ITS_CALLER_SECONDS", 0.1)
    async with supervised() as call:
        call.room.remote_participants.clear()
        session = await started()
        assert call.ended_for == []
        await asyncio.sleep(0.3)
        assert call.ended_for == (["caller_left"] if ends else [])
        await close(session, CloseReason.USER_INITIATED)


@pytest.mark.parametrize(
    ("is_waiting", "is_there_late", "empty_timeout_seconds", "ends"),
    [
        (True, False, 300, True),
        # LiveKit's own list is asked: it tells the room of a new caller up to 3 s late.
        (True, True, 300, False),
        # It speaks with another agent, or has no room at all.
        (False, False, 300, False),
        # Somebody has made the room for an appointment.
        (True, False, 3600, False),
    ],
)
async def test_a_session_to_which_nobody_comes_is_not_kept_until_livekit_closes_the_room(
    monkeypatch: pytest.MonkeyPatch,
    is_waiting: bool,
    is_there_late: bool,
    empty_timeout_seconds: int,
    ends: bool,
) -> None:
    livekit_tells(monkeypatch, is_there_late)
    monkeypatch.setattr(livekit_session, "is_waiting", lambda _: is_waiting)
    monkeypatch.setenv("VOICEFLEET_EMPTY_ROOM_SECONDS", "0.3")
    async with supervised() as call:
        call.job.room.empty_timeout = empty_timeout_seconds
        call.room.remote_participants.clear()
        session = await started()
        await asyncio.sleep(0.1)
        assert call.ended_for == []
        await asyncio.sleep(0.4)
        assert call.ended_for == (["nobody_came"] if ends else [])
        await close(session, CloseReason.USER_INITIATED)


async def test_an_entrypoint_that_waits_for_somebody_goes_with_the_call_to_which_nobody_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """LiveKit waited 15 s more for it, and the slot with LiveKit."""

    livekit_tells(monkeypatch, False)
    monkeypatch.setattr(livekit_session, "is_waiting", lambda _: True)
    monkeypatch.setenv("VOICEFLEET_EMPTY_ROOM_SECONDS", "0.1")
    call = Call()
    call.room.remote_participants.clear()
    supervisor = CallSupervisor(call, settings_module.load(), None)  # type: ignore[arg-type]

    async def entrypoint() -> AgentSession[None]:
        supervisor.begin()
        session = await started()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.Event().wait()
        return session

    session = await asyncio.wait_for(asyncio.create_task(entrypoint()), timeout=5)
    assert call.ended_for == ["nobody_came"]
    assert supervisor.cancels_entrypoint
    await close(session, CloseReason.USER_INITIATED)
    for callback in call.callbacks:
        await callback("the test is over")


@pytest.mark.parametrize("opens_another", [True, False])
async def test_one_who_is_back_before_the_session_has_closed_is_not_left_alone(
    monkeypatch: pytest.MonkeyPatch, asked: list[str], opens_another: bool
) -> None:
    """Closing takes seconds: a tool runs, or the last words are on their way. Nobody answered."""
    monkeypatch.setattr(call_module, "STILL_EMPTY_SECONDS", 0.1)
    async with supervised() as call:
        session = await started()
        anna = call.room.remote_participants.pop("anna")
        call.room.emit("participant_disconnected", anna)
        call.room.remote_participants["anna"] = anna
        call.room.emit("participant_connected", anna)
        await close(session, CloseReason.PARTICIPANT_DISCONNECTED)
        another = await started() if opens_another else None
        await asyncio.sleep(0.3)
        assert call.ended_for == ([] if opens_another else ["caller_left"])
        assert asked == ([] if opens_another else ["again"])
        if another is not None:
            await close(another, CloseReason.USER_INITIATED)


async def test_a_bystander_of_a_call_that_is_over_is_sent_no_agent(
    monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    """They were there beside the caller, and nobody had served them."""
    monkeypatch.setattr(call_module, "STILL_EMPTY_SECONDS", 0.05)
    async with supervised() as call:
        session = await started()
        anna = call.room.remote_participants.pop("anna")
        call.room.remote_participants["bert"] = anna
        call.room.emit("participant_disconnected", anna)
        await close(session, CloseReason.PARTICIPANT_DISCONNECTED)
        await asyncio.sleep(0.2)
        assert call.ended_for == asked == []


@pytest.mark.parametrize("comes", ["during the session", "before it"])
async def test_a_session_that_waits_for_a_caller_who_was_there_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, comes: str
) -> None:
    """`close_on_disconnect=False`: the file knows best how long."""
    asked = livekit_tells(monkeypatch, False)
    monkeypatch.setattr(livekit_session, "is_waiting", lambda _: True)
    monkeypatch.setenv("VOICEFLEET_EMPTY_ROOM_SECONDS", "0.3")
    async with supervised() as call:
        anna = call.room.remote_participants.pop("anna")
        if comes == "before it":
            call.room.emit("participant_disconnected", anna)
        session = await started()
        if comes == "during the session":
            call.room.emit("participant_connected", anna)
        await asyncio.sleep(0.5)
        # LiveKit was asked at the call's beginning alone.
        assert (call.ended_for, asked) == ([], [call])
        await close(session, CloseReason.USER_INITIATED)

"""A session and its job still are as `livekit_compat/session.py` takes them."""

import asyncio
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, CloseReason, JobContext, JobProcess
from livekit.agents.ipc import job_proc_lazy_main
from livekit.agents.utils import http_context
from livekit.agents.voice import SpeechHandle
from livekit.agents.voice.room_io import RoomIO, RoomOptions
from livekit.agents.voice.room_io import room_io as room_io_module
from livekit.protocol import models

from tests.livekit_compat.contract import expect, expect_in_source
from voicefleet.livekit_compat import session as livekit_session

WHERE = "See livekit_compat/session.py."


def text_session() -> AgentSession[Any]:
    return AgentSession(vad=None, turn_handling={"turn_detection": None})


@pytest.mark.parametrize("reason", livekit_session.ROOM_WENT + livekit_session.FAILED[:1])
def test_livekit_still_gives_a_job_this_reason(reason: str) -> None:
    """`test_job_process.py` has real jobs end for each."""
    expect_in_source(
        job_proc_lazy_main,
        f'"{reason}"',
        f"LiveKit's ipc/job_proc_lazy_main.py no longer gives the reason {reason!r}: such a call is"
        f" counted as one that the agent left. {WHERE}",
    )


def test_a_session_that_failed_has_the_reason_that_agents_pass_on() -> None:
    expect(
        CloseReason.ERROR.value == "error",
        "LiveKit has another word for a session that failed. Agents that pass it on are not yet"
        f" counted wrong, but reports of calls have the new word. {WHERE}",
    )


@pytest.mark.parametrize("closes", [True, False])
def test_what_a_file_asks_of_the_end_of_its_session_is_known(closes: bool) -> None:
    async def read() -> bool | None:
        session = text_session()
        # As AgentSession.start has it, but for the room.
        io = RoomIO(session, rtc.Room(), options=RoomOptions(close_on_disconnect=closes))
        session._room_io = io
        options = getattr(io, "_options", None)
        if getattr(options, "close_on_disconnect", None) is None:
            return None
        return livekit_session.ends_with_its_caller(session)

    found = asyncio.run(read())
    expect(
        found is closes,
        "LiveKit's RoomIO no longer keeps `close_on_disconnect` in `_options`: the slot of a"
        f" session that waits for its caller is given away, or stays taken too long. {WHERE}",
    )


async def test_a_session_without_a_room_does_not_end_with_its_caller() -> None:
    async with text_session() as session:
        await session.start(Agent(instructions=""))
        expect(
            not livekit_session.ends_with_its_caller(session),
            f"LiveKit's session without a room has a `room_io` all the same. {WHERE}",
        )


def test_a_session_that_waits_for_somebody_is_told_from_one_that_has_no_room() -> None:
    async def read() -> tuple[bool, bool, bool]:
        without, waiting, linked = text_session(), text_session(), text_session()
        for session in (waiting, linked):
            session._room_io = RoomIO(session, rtc.Room(), options=RoomOptions())
        linked.room_io._participant_available_fut.set_result(object())  # type: ignore[arg-type]
        waits = livekit_session.is_waiting
        return waits(without), waits(waiting), waits(linked)

    expect(
        asyncio.run(read()) == (False, True, False),
        "LiveKit's RoomIO no longer tells by `linked_participant` whom it serves: a call to which"
        f" nobody comes keeps its slot, or a living one is ended. {WHERE}",
    )


def test_a_caller_who_hangs_up_leaves_for_a_reason_that_livekit_ends_a_session_for() -> None:
    expect(
        rtc.DisconnectReason.CLIENT_INITIATED in livekit_session.HUNG_UP,
        "LiveKit no longer closes a session when its caller hangs up: the slot is given away while"
        f" the session goes on. {WHERE}",
    )
    expect_in_source(
        room_io_module,
        "DEFAULT_CLOSE_ON_DISCONNECT_REASONS",
        "LiveKit closes a session for other reasons than DEFAULT_CLOSE_ON_DISCONNECT_REASONS: a"
        f" slot is given away too early or too late. {WHERE}",
    )


def test_who_speaks_for_an_agent_is_marked_so() -> None:
    expect(
        livekit_session.is_avatar(
            models.ParticipantInfo(attributes={"lk.publish_on_behalf": "agent"})
        ),
        "LiveKit marks an avatar by another attribute: rooms with an older avatar count it as one"
        f" more who talks, and are not closed. {WHERE}",
    )


async def test_each_start_of_a_session_is_seen_and_is_what_it_was() -> None:
    seen: list[tuple[AgentSession[Any], str]] = []
    livekits_own = AgentSession.start
    stop = livekit_session.watch_starts(lambda one: seen.append((one, one.agent_state)))
    try:
        first, second = text_session(), text_session()
        for session in (first, second, first):
            result = await session.start(Agent(instructions=""), capture_run=True)
            assert [event.type for event in result.events] == ["agent_handoff"]
            await session.aclose()
    finally:
        stop()
    expect(
        seen == [(one, "initializing") for one in (first, second, first)],
        "LiveKit's sessions do not start by `AgentSession.start`: they are not watched, so silence,"
        f" usage and turns of a call are not seen. {WHERE} Seen: {seen}",
    )
    assert AgentSession.start is livekits_own


async def test_a_watcher_that_fails_does_not_fail_the_session() -> None:
    def fail(_: AgentSession[Any]) -> None:
        raise TypeError("no")

    stop = livekit_session.watch_starts(fail)
    try:
        async with text_session() as session:
            await session.start(Agent(instructions=""))
            assert session.agent_state == "listening"
    finally:
        stop()


# Public, and needed in every call.
JOB_CONTEXT = {
    "add_shutdown_callback": "the pod is not told why a call ended",
    "delete_room": "a caller stays in the room after the farewell",
    "job": "the pod does not know which call a process has",
    "primary_session": "no farewell is said",
    "proc": "prewarm hands nothing to the call",
    "room": "nobody who leaves is seen",
    "shutdown": "the pod cannot end a call",
}
JOB_PROCESS = {
    "executor_type": "a job on a thread is taken for a process of its own",
    "userdata": "prewarm hands nothing to the call",
}


@pytest.mark.parametrize(
    ("owner", "name", "breaks"),
    [
        *((JobContext, name, breaks) for name, breaks in JOB_CONTEXT.items()),
        *((JobProcess, name, breaks) for name, breaks in JOB_PROCESS.items()),
    ],
)
def test_a_job_has_what_a_call_is_supervised_by(owner: type, name: str, breaks: str) -> None:
    expect(
        hasattr(owner, name),
        f"LiveKit's {owner.__name__} no longer has {name}: {breaks}. See job/call.py",
    )


async def test_the_session_that_plugins_share_can_be_opened_before_a_job() -> None:
    expect(
        hasattr(http_context, "open"),
        "LiveKit's utils/http_context.py has no `open`: the first call of each job loads the TLS"
        " context by itself, while its caller waits. See job/shared.py",
    )
    async with http_context.open():
        pass


async def test_the_caller_of_a_resumed_call_interrupts_from_the_first_moment() -> None:
    """Otherwise interruptions wait for 3 s, as at the beginning of a call."""
    session = text_session()
    expect(
        session._aec_warmup_remaining > 0
        and session._aec_warmup_duration_explicit is False
        and session._opts.aec_warmup_duration is not None,
        "LiveKit's AgentSession no longer keeps the warm-up of its echo cancellation as it did: the"
        f" caller of a call that goes on cannot interrupt for a while. {WHERE}",
    )
    livekit_session.skip_echo_warmup(session)
    assert session._aec_warmup_remaining == 0
    assert session._opts.aec_warmup_duration is None


async def said_beside(session: AgentSession[Any]) -> SpeechHandle:
    await asyncio.sleep(0)
    return session.say("Good day.")


async def test_what_an_entrypoint_says_in_a_resumed_call_is_not_said() -> None:
    session = text_session()
    expect(
        hasattr(SpeechHandle.create(), "_mark_done"),
        "LiveKit's SpeechHandle has no `_mark_done`: an entrypoint that waits for the end of its"
        f" greeting would wait for ever in a resumed call. {WHERE}",
    )
    with livekit_session.openings_replaced(lambda: True, lambda: None):
        said = session.say("Good day.")
        asked = session.generate_reply(instructions="Greet the caller.")
        assert said.done()
        assert asked.done()
    known = SpeechHandle.create()
    with livekit_session.openings_replaced(lambda: True, lambda: known):
        assert session.say("Good day.") is known
        beside = asyncio.create_task(said_beside(session))
    assert await beside is known
    # Afterwards it is LiveKit's own.
    with (
        livekit_session.openings_replaced(lambda: False, lambda: known),
        pytest.raises(RuntimeError),
    ):
        session.say("Good day.")
    with pytest.raises(RuntimeError):
        session.say("Good day.")


async def test_a_session_starts_with_the_agent_that_was_prepared_and_with_its_own_otherwise() -> (
    None
):
    mine = Agent(instructions="mine")

    async def prepared(_: AgentSession[Any], agent: Agent) -> Agent:
        if agent.instructions == "fails":
            raise ValueError("no such agent")
        return mine

    stop = livekit_session.watch_starts(lambda _: None, prepared)
    try:
        for words, expected in (("theirs", mine), ("fails", None)):
            session = text_session()
            theirs = Agent(instructions=words)
            await session.start(theirs)
            assert session.current_agent is (expected or theirs)
            await session.aclose()
    finally:
        stop()

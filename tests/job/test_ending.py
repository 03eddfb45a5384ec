"""How a call ends: farewell, hang up, end, whatever fails on the way; and the cause told."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, CloseEvent, CloseReason
from livekit.agents.types import ATTRIBUTE_PUBLISH_ON_BEHALF

from tests.agents.loudspeaker import Loudspeaker
from tests.waiting import wait_until
from voicefleet.job import ending
from voicefleet.job.ending import Ending
from voicefleet.telemetry.messages import Cause


def somebody(*tracks: rtc.TrackKind.ValueType, **attributes: str) -> SimpleNamespace:
    published = {n: SimpleNamespace(kind=kind) for n, kind in enumerate(tracks)}
    return SimpleNamespace(track_publications=published, attributes=attributes)


CALLER = somebody(rtc.TrackKind.KIND_AUDIO)
AGENT = somebody(rtc.TrackKind.KIND_AUDIO)
SCRIBE = somebody()
CAMERA = somebody(rtc.TrackKind.KIND_VIDEO)
AVATAR = somebody(
    rtc.TrackKind.KIND_VIDEO,
    rtc.TrackKind.KIND_AUDIO,
    **{ATTRIBUTE_PUBLISH_ON_BEHALF: "agent"},
)


class Line:
    """The parts of LiveKit's JobContext that an ending uses, and what it did, in this order; the
    session is LiveKit's where one is given.
    """

    def __init__(
        self, *others: object, session: "AgentSession[None] | Voice | None" = None
    ) -> None:
        self.done: list[str] = []
        self.room: object = SimpleNamespace(remote_participants=dict(enumerate(others)))
        self.is_livekit_away = False
        self._session = session or Voice(self.done)

    @property
    def primary_session(self) -> "AgentSession[None] | Voice":
        return self._session

    async def delete_room(self) -> None:
        if self.is_livekit_away:
            await asyncio.Event().wait()
        self.done.append("hang up")

    def shutdown(self, reason: str) -> None:
        self.done.append(f"end: {reason}")


class Voice:
    """The parts of LiveKit's AgentSession that an ending uses, where it can speak."""

    output = SimpleNamespace(audio=object(), transcription=None)

    def __init__(self, done: list[str]) -> None:
        self.room_io = SimpleNamespace(_options=SimpleNamespace(close_on_disconnect=True))
        self._done = done
        self.hangs = False

    async def interrupt(self, *, force: bool) -> None:
        self._done.append("interrupt")

    async def say(self, text: str, *, allow_interruptions: bool) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        self._done.append(f"say {text}")


class NoSession(Line):
    @property
    def primary_session(self) -> "AgentSession[None] | Voice":
        raise RuntimeError("no session")


def ending_of(line: Line, farewell: str = "Goodbye.") -> Ending:
    return Ending(line, farewell)  # type: ignore[arg-type]


async def test_the_caller_hears_a_farewell_before_the_line_goes_down() -> None:
    line = Line(CALLER)
    await ending_of(line).politely(Cause.TOO_LONG)
    assert line.done == ["interrupt", "say Goodbye.", "hang up", "end: too_long"]


async def test_a_call_is_ended_once_for_the_first_cause() -> None:
    line = Line()
    end = ending_of(line)
    await asyncio.gather(end.politely(Cause.SILENT), end.politely(Cause.DRAINED))
    assert line.done == ["interrupt", "say Goodbye.", "hang up", "end: silent"]
    assert end.told("room disconnected") is Cause.SILENT


async def test_a_call_without_a_session_is_ended_without_words() -> None:
    line = NoSession(CALLER)
    await ending_of(line).politely(Cause.DRAINED)
    assert line.done == ["hang up", "end: drained"]


async def test_an_agent_leaves_a_room_that_it_shares_with_another_and_does_not_close_it() -> None:
    """The drain of a pod of transcribers ended the calls of the front desk."""
    line = Line(CALLER, AGENT)
    await ending_of(line).politely(Cause.DRAINED)
    assert line.done == ["interrupt", "say Goodbye.", "end: drained"]


async def test_an_agent_without_a_farewell_leaves_a_shared_room_all_the_same() -> None:
    shared, own = Line(CALLER, AGENT), Line(CALLER)
    for line in (shared, own):
        await ending_of(line, farewell="").politely(Cause.SILENT)
    assert (shared.done, own.done) == (["end: silent"], ["hang up", "end: silent"])


async def test_people_who_talk_with_each_other_are_left_to_it() -> None:
    """A transcriber's drain ended their meeting, and a front desk's a call it had handed on."""
    line = Line(CALLER, CALLER)
    await ending_of(line).politely(Cause.DRAINED)
    assert line.done[-1:] == ["end: drained"]
    assert "hang up" not in line.done


@pytest.mark.parametrize("other", [AVATAR, SCRIBE, CAMERA])
async def test_a_caller_is_left_with_nobody_who_does_not_speak(other: object) -> None:
    line = Line(CALLER, other)
    await ending_of(line).politely(Cause.DRAINED)
    assert line.done[-2:] == ["hang up", "end: drained"]


@pytest.mark.parametrize("has_output", [False, True])
async def test_an_agent_without_a_voice_ends_its_call_without_words(
    has_output: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What LiveKit refused to say left the caller behind in the room, alone."""
    async with AgentSession[None](vad=None, turn_handling={"turn_detection": None}) as session:
        session.output.audio = Loudspeaker() if has_output else None
        await session.start(Agent(instructions=""))
        line = Line(CALLER, session=session)
        async with asyncio.timeout(5):
            await ending_of(line).politely(Cause.DRAINED)
        assert line.done == ["hang up", "end: drained"]
        assert session.history.messages() == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_voice_that_hangs_keeps_no_call_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "FAREWELL_WITHIN_SECONDS", ending.HANG_UP_WITHIN_SECONDS + 0.05)
    voice = Voice([])
    voice.hangs = True
    line = Line(CALLER, session=voice)
    async with asyncio.timeout(5):
        await ending_of(line).politely(Cause.TOO_LONG)
    assert line.done == ["hang up", "end: too_long"]


async def test_a_server_that_is_away_keeps_no_call_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "HANG_UP_WITHIN_SECONDS", 0.05)
    line = Line(CALLER)
    line.is_livekit_away = True
    await ending_of(line).politely(Cause.TOO_LONG)
    assert line.done[-1] == "end: too_long"


@pytest.mark.parametrize(
    ("closed_for", "reason", "told"),
    [
        (None, "parent process shutdown", Cause.ROOM_CLOSED),
        (CloseReason.PARTICIPANT_DISCONNECTED, "caller_left", Cause.CALLER_LEFT),
        (CloseReason.ERROR, "error", Cause.ERROR),
        (CloseReason.USER_INITIATED, "user requested", Cause.AGENT_LEFT),
        (None, "room disconnected", Cause.ROOM_CLOSED),
        (None, "job crashed", Cause.ERROR),
        # An agent file that knows by itself that its caller has gone before it had joined.
        (None, "participant_disconnected", Cause.CALLER_LEFT),
        # An agent that says goodbye because its providers are lost ends the session itself.
        (CloseReason.USER_INITIATED, "error", Cause.ERROR),
        (CloseReason.JOB_SHUTDOWN, "room disconnected", Cause.ROOM_CLOSED),
    ],
)
def test_the_cause_is_what_livekit_tells(
    closed_for: CloseReason | None, reason: str, told: Cause
) -> None:
    end = ending_of(Line())
    if closed_for is not None:
        end.session_closed(CloseEvent(reason=closed_for))
    assert end.told(reason) is told


OTHER = SimpleNamespace(kind=rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD, attributes={})
# Who is there for a caller, and no caller.
OTHER_AGENT = SimpleNamespace(kind=rtc.ParticipantKind.PARTICIPANT_KIND_AGENT)


@pytest.mark.parametrize("reason", ["room disconnected", "parent process shutdown"])
@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({}, Cause.CALLER_LEFT),
        ({"agent": OTHER_AGENT}, Cause.CALLER_LEFT),
        ({"other": OTHER}, Cause.ROOM_CLOSED),
    ],
)
def test_a_room_that_goes_when_its_last_caller_has_left_has_gone_for_that(
    reason: str, others: dict[str, Any], told: Cause
) -> None:
    line = Line()
    line.room = SimpleNamespace(remote_participants=others)
    end = ending_of(line)
    end.somebody_left(gone_for(rtc.DisconnectReason.CLIENT_INITIATED))
    assert end.told(reason) is told


def gone_for(reason: rtc.DisconnectReason.ValueType) -> rtc.RemoteParticipant:
    return SimpleNamespace(disconnect_reason=reason)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("others", "reason", "has_session", "is_over"),
    [
        ({}, rtc.DisconnectReason.CLIENT_INITIATED, True, True),
        ({"other": OTHER}, rtc.DisconnectReason.CLIENT_INITIATED, True, False),
        ({}, rtc.DisconnectReason.STATE_MISMATCH, True, False),
        ({}, rtc.DisconnectReason.CLIENT_INITIATED, False, False),
    ],
)
def test_a_slot_is_free_when_the_last_caller_has_hung_up_and_not_when_a_line_is_bad(
    others: dict[str, Any],
    reason: rtc.DisconnectReason.ValueType,
    has_session: bool,
    is_over: bool,
) -> None:
    line = Line() if has_session else NoSession()
    line.room = SimpleNamespace(remote_participants=others)
    assert ending_of(line).somebody_left(gone_for(reason)) is is_over


def test_a_slot_is_kept_where_the_agent_file_waits_for_a_caller_who_comes_back() -> None:
    """A page was loaded again: the call went on, and its slot was given to another one."""
    voice = Voice([])
    voice.room_io._options.close_on_disconnect = False
    end = ending_of(Line(session=voice))
    assert not end.somebody_left(gone_for(rtc.DisconnectReason.CLIENT_INITIATED))


async def test_a_session_in_place_of_one_that_failed_lets_the_call_go_on() -> None:
    """The failure was the call's cause for good: it had failed, and no drain could end it."""
    line = Line()
    end = ending_of(line)
    end.session_closed(CloseEvent(reason=CloseReason.ERROR))
    await end.politely(Cause.DRAINED)
    assert line.done[-1] == "end: drained"
    assert end.told("drained") is Cause.DRAINED
    again = ending_of(line)
    again.session_closed(CloseEvent(reason=CloseReason.ERROR))
    again.session_starts()
    assert again.told("user requested") is Cause.AGENT_LEFT


async def test_a_call_that_its_caller_is_leaving_is_not_ended_by_the_pod() -> None:
    line = Line()
    end = ending_of(line)
    end.session_closed(CloseEvent(reason=CloseReason.PARTICIPANT_DISCONNECTED))
    await end.politely(Cause.DRAINED)
    assert line.done == []
    assert end.told("caller_left") is Cause.CALLER_LEFT


async def test_what_was_said_last_reaches_the_caller_before_the_room_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its sound is on the way when LiveKit has sent it, and goes with the room."""
    monkeypatch.setattr(ending, "LAST_WORD_SECONDS", 0.3)
    line = Line(CALLER)
    saying = asyncio.create_task(ending_of(line).politely(Cause.SILENT))
    await wait_until(lambda: "say Goodbye." in line.done, because="the farewell is said")
    await asyncio.sleep(0.1)
    assert "hang up" not in line.done
    await saying
    assert line.done[-2:] == ["hang up", "end: silent"]


def test_a_session_that_fails_after_its_caller_has_left_has_not_failed_the_call() -> None:
    end = ending_of(Line())
    end.session_closed(CloseEvent(reason=CloseReason.PARTICIPANT_DISCONNECTED))
    end.session_closed(CloseEvent(reason=CloseReason.ERROR))
    assert end.told("error") is Cause.CALLER_LEFT


async def test_an_empty_room_does_not_end_again_what_the_pod_has_ended() -> None:
    line = NoSession()
    end = ending_of(line)
    await end.politely(Cause.SILENT)
    end.nobody_is_there(Cause.NOBODY_CAME)
    assert line.done == ["hang up", "end: silent"]
    assert end.told("room disconnected") is Cause.SILENT


def test_a_call_whose_last_caller_has_left_is_its_callers_end() -> None:
    """And not that of one who is back, or of whom the agent has brought in since."""
    line = NoSession()
    end = ending_of(line)
    seen = [end.was_the_callers]
    end.somebody_left(gone_for(rtc.DisconnectReason.STATE_MISMATCH))
    seen.append(end.was_the_callers)
    line.room = SimpleNamespace(remote_participants={"other": OTHER})
    seen.append(end.was_the_callers)
    assert seen == [False, True, False]
    assert end.told("room disconnected") is Cause.ROOM_CLOSED

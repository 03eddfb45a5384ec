"""How a call ends: by the agent, by its providers, by the job, by the caller."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from livekit.agents import (
    Agent,
    AgentSession,
    APIConnectionError,
    CloseEvent,
    CloseReason,
    ErrorEvent,
    stt,
)
from livekit.agents.testing import fake_job_context

from tests.agents import text_call
from tests.agents.loudspeaker import Loudspeaker, Voice
from tests.agents.scripted_llm import BreaksOff, Reply, ScriptedLLM
from tests.agents.text_call import TextCall
from voicefleet.agents import closing
from voicefleet.agents.closing import APOLOGY, FORGIVEN_FAILURES, SAY_AGAIN

DOWN = APIConnectionError("the provider is down", retryable=False)


@dataclass(slots=True)
class Job:
    """What was done to the job of a call."""

    callbacks: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    deleted_room_count: int = 0

    async def end(self) -> None:
        """Call back, as LiveKit does once a job is told to shut down."""
        for callback in self.callbacks:
            await callback()


@pytest.fixture
async def job(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Job]:
    with fake_job_context() as context:
        job = Job()

        async def delete_room() -> None:
            job.deleted_room_count += 1

        monkeypatch.setattr(context, "shutdown", lambda reason: job.reasons.append(reason))
        monkeypatch.setattr(context, "add_shutdown_callback", job.callbacks.append)
        monkeypatch.setattr(context, "delete_room", delete_room)
        yield job
        await context._on_cleanup()


def librarian() -> Agent:
    return Agent(instructions="Help.")


def lose_the_caller(call: TextCall, *, recoverable: bool = False) -> None:
    """The STT fails, as a session reports it."""
    error = stt.STTError(timestamp=0.0, label="ears", error=DOWN, recoverable=recoverable)
    call.session.emit("error", ErrorEvent(error=error, source=None))


async def test_hanging_up_deletes_the_room_and_ends_the_job_after_the_last_word(job: Job) -> None:
    async with text_call.answered_by(librarian()) as call:
        hung_up = text_call.closed(call.session)
        call.session.say("Goodbye.", allow_interruptions=False)
        closing.hang_up(call.session)
        assert not job.reasons
        await asyncio.wait_for(hung_up, timeout=2)
    await job.end()
    assert call.spoken == ["Goodbye."]
    assert job.reasons == [CloseReason.USER_INITIATED.value]
    assert job.deleted_room_count == 1


async def test_hanging_up_outside_a_job_only_closes_the_session() -> None:
    async with text_call.answered_by(librarian()) as call:
        hung_up = text_call.closed(call.session)
        closing.hang_up(call.session)
        await asyncio.wait_for(hung_up, timeout=2)


async def test_a_job_that_is_told_to_stop_leaves_the_caller_in_the_room(job: Job) -> None:
    """LiveKit closes the session as if the agent had: the room must stay for who comes next."""
    async with text_call.answered_by(librarian()) as call:
        await call.session.aclose()
    await job.end()
    assert not job.reasons
    assert not job.deleted_room_count


async def test_a_session_that_livekit_gives_up_does_not_leave_the_caller_in_silence(
    job: Job,
) -> None:
    async with text_call.answered_by(librarian()) as call:
        call.session.emit("close", CloseEvent(reason=CloseReason.ERROR))
    await job.end()
    assert job.reasons == [CloseReason.ERROR.value]
    assert job.deleted_room_count == 1


@pytest.mark.parametrize("lost", [DOWN, BreaksOff("Here")], ids=["whole", "in the middle"])
async def test_a_lost_answer_is_asked_for_again_and_the_call_goes_on(lost: Reply) -> None:
    async with text_call.answered_by(librarian(), lost, "Here I am.") as call:
        await call.say("Hello?")
        await call.say("Hello?")
        begun = [lost.text] if isinstance(lost, BreaksOff) else []
        assert call.spoken == [*begun, SAY_AGAIN, "Here I am."]


async def test_failures_in_a_row_end_in_an_apology_and_a_hang_up(job: Job) -> None:
    async with text_call.answered_by(librarian(), *[DOWN] * (FORGIVEN_FAILURES + 1)) as call:
        hung_up = text_call.closed(call.session)
        for _ in range(FORGIVEN_FAILURES + 1):
            await call.say("Hello?")
        await asyncio.wait_for(hung_up, timeout=2)
    await job.end()
    assert call.spoken == [*[SAY_AGAIN] * FORGIVEN_FAILURES, APOLOGY]
    assert job.deleted_room_count == 1
    assert job.reasons == [CloseReason.ERROR.value]


async def test_an_answer_in_between_makes_the_failures_forgotten() -> None:
    replies: list[Reply] = [*[DOWN] * FORGIVEN_FAILURES, "Here I am."]
    async with text_call.answered_by(librarian(), *replies, *replies) as call:
        for _ in range(2 * len(replies)):
            await call.say("Hello?")
        assert call.spoken == [*[SAY_AGAIN] * FORGIVEN_FAILURES, "Here I am."] * 2


async def test_a_failure_that_is_being_retried_is_not_mentioned() -> None:
    async with text_call.answered_by(librarian(), "Here I am.") as call:
        for _ in range(9):
            lose_the_caller(call, recoverable=True)
        await call.say("Hello?")
        assert call.spoken == ["Here I am."]


async def test_ears_that_stay_deaf_end_in_an_apology() -> None:
    async with text_call.answered_by(librarian()) as call:
        hung_up = text_call.closed(call.session)
        for _ in range(9):
            lose_the_caller(call)
        await asyncio.wait_for(hung_up, timeout=2)
        assert call.spoken == [APOLOGY]


async def test_a_voice_that_stays_broken_ends_the_call_without_words(job: Job) -> None:
    # LiveKit never looks at the error of a failed say(), and asyncio would complain of that.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    voice = Voice(is_broken=True)
    session = AgentSession[None](
        llm=ScriptedLLM(), tts=voice, vad=None, turn_handling={"turn_detection": None}
    )
    async with session:
        session.output.audio = Loudspeaker()
        closing.watch(session)
        hung_up = text_call.closed(session)
        await session.start(librarian())
        for _ in range(FORGIVEN_FAILURES + 1):
            await session.say("Hello.")
        await asyncio.wait_for(hung_up, timeout=2)
    await job.end()
    assert set(voice.texts) == {"Hello."}
    assert job.deleted_room_count == 1

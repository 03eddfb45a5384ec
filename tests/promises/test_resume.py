"""A call outlives its process: killed at any moment of a real call, it goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.promises.conftest import CASES, RunStack
from tests.promises.test_pod import logged, worker_of
from tests.waiting import wait_until
from voicefleet.agents.front_desk.calendar import SqliteCalendar
from voicefleet.lab import caller, conversation, livekit_server, processes, timeline
from voicefleet.lab.caller import CallPlan
from voicefleet.lab.compare import calls, stage
from voicefleet.lab.compare.calls import Dialled
from voicefleet.lab.compare.outcome import Subject
from voicefleet.lab.compare.stage import AGENT_FILE, Stage
from voicefleet.lab.conversation import Conversation
from voicefleet.lab.killing import Killing, process_of_the_call
from voicefleet.lab.stack import Stack
from voicefleet.lab.timeline import Event, EventKind, Timeline

pytestmark = pytest.mark.server

STOCK_CALL = str(Path(__file__).with_name("stock_call.toml"))
# On a machine that is busy with the tests beside this one.
SILENT_AT_MOST_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Gone:
    """A call whose process was killed, and what its pod says of it."""

    done: Timeline
    over: dict[str, Any]
    silence_seconds: float | None

    def assert_that_it_went_on(self) -> None:
        assert (self.over["outcome"], self.over["cause"]) == ("completed", "caller_left")
        assert self.over["resumes"] == 1
        assert not self.done.was_ended_by_agent
        greeting = conversation.words(self.done.turns[0].expected)
        later = [" ".join(conversation.words(t.heard)) for t in self.done.turns[1:]]
        assert not any(" ".join(greeting) in heard for heard in later)


async def call(up: Stack, script: Conversation, on_event: Callable[[Event], None]) -> Timeline:
    plan = CallPlan(
        *(up.url, up.api_key, up.api_secret, up.agent_name, script),
        join_timeout_seconds=30.0,
        answer_timeout_seconds=30.0,
    )
    return await caller.place_call(plan, on_event=on_event)


def beginning_of(script: str, *, exchanges: int) -> Conversation:
    """After which the caller hangs up."""
    whole = conversation.load(script)
    return replace(whole, exchanges=whole.exchanges[:exchanges])


async def killed(up: Stack, script: Conversation, moment: tuple[EventKind, int, float]) -> Gone:
    kills = Killing(worker_of(up).pid, up.url, *moment)
    done = await call(up, script, kills)
    await wait_until(lambda: logged(up, "call over") != [], because="the call is over")
    (over,) = logged(up, "call over")
    assert kills.at_unix_seconds is not None, "no process was killed"
    return Gone(done, over, kills.silence_seconds(done))


# The turn in which it is killed, and whether both sides understand that one in the end: an answer
# that broke off is given again, and a caller who was cut off is asked to say it again, which this
# one does not do.
MOMENTS = {
    "while the agent speaks": ((EventKind.AGENT_SPEAKS, 1, 1.5), 1),
    "in the greeting": ((EventKind.FIRST_AUDIO, 1, 0.8), 0),
    "while the caller speaks": ((EventKind.CALLER_SPEAKS, 1, 1.0), None),
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_call_goes_on_whenever_its_process_is_killed(
    run_stack: RunStack, moment: str
) -> None:
    when, turn = MOMENTS[moment]
    async with run_stack("assistant") as up:
        gone = await killed(up, beginning_of("assistant", exchanges=2), when)
    gone.assert_that_it_went_on()
    assert gone.done.turns[-1].is_understood_by_caller
    if turn is not None:
        assert gone.done.turns[turn].is_understood_by_caller
    if moment == "while the agent speaks":
        assert gone.silence_seconds is not None
        assert gone.silence_seconds < SILENT_AT_MOST_SECONDS


@asynccontextmanager
async def one_call(binary: Path) -> AsyncIterator[tuple[Stage, Dialled, bytes]]:
    """A call that is greeted, and a question that is always answered."""
    question = await calls.voice(calls.WHOLE.exchanges[0].caller)
    async with (
        stage.world(binary, memory_limit_bytes=0) as world,
        world.stage(Subject.OURS) as up,
        calls.dialled(up) as one,
    ):
        assert await one.until_greeted(within_seconds=20)
        assert await one.is_answered(question, within_seconds=20)
        yield up, one, question


def the_process(up: Stage) -> psutil.Process:
    process = process_of_the_call(up.worker.pid, up.livekit.url)
    assert process is not None
    return process


async def test_who_asks_a_moment_after_the_death_is_answered(livekit_server_binary: Path) -> None:
    """It is killed between two turns, in which nobody notices."""
    async with one_call(livekit_server_binary) as (up, one, question):
        await asyncio.sleep(1.0)
        the_process(up).kill()
        await asyncio.sleep(1.5)
        assert await one.is_answered(question, within_seconds=20)


@pytest.mark.parametrize("agent", ["interview", "triage", "phone", "realtime", "stock"])
async def test_each_agent_goes_on_with_what_was_said_and_done(
    run_stack: RunStack, agent: str
) -> None:
    """Killed in its second answer: the conversation goes on as it is written."""
    name = STOCK_CALL if agent == "stock" else agent
    hosted = str(AGENT_FILE) if agent == "stock" else agent
    script = beginning_of(name, exchanges=3)
    async with run_stack(hosted, script=name) as up:
        gone = await killed(up, script, (EventKind.AGENT_SPEAKS, 1 if agent == "stock" else 2, 1.0))
    gone.assert_that_it_went_on()
    assert timeline.verdict(gone.done) is None
    # Of a handover LiveKit tells twice where the next agent hands over at once.
    called = [set(turn.tools) for turn in gone.done.turns[1:]]
    assert called == [{tool.name for tool in exchange.tools} for exchange in script.exchanges]


async def test_a_booking_is_made_once(run_stack: RunStack, tmp_path: Path) -> None:
    """Killed while the booking is said to be made; the caller hangs up after that."""
    script = beginning_of("front_desk", exchanges=2)
    async with run_stack("front_desk", script="front_desk") as up:
        gone = await killed(up, script, (EventKind.AGENT_SPEAKS, 2, 0.3))
        book = SqliteCalendar(up.folder / "calendar.sqlite3")
        day = conversation.next_day("tuesday", datetime.now(UTC).date())
        assert len(await book.taken(day)) == 1
    gone.assert_that_it_went_on()
    assert timeline.verdict(gone.done) is None


async def test_a_tool_that_was_at_work_is_told_as_one_that_may_be_done(
    run_stack: RunStack,
) -> None:
    """Of a file that deletes the room when its session closes: the room stays."""
    async with run_stack(str(CASES / "goes_with_its_room.py"), script=STOCK_CALL) as up:
        script = conversation.load(STOCK_CALL)
        gone = await killed(up, script, (EventKind.AGENT_HEARD, 1, 1.5))
    gone.assert_that_it_went_on()
    assert gone.done.turns[-1].is_understood_by_caller


async def test_the_third_death_ends_politely(run_stack: RunStack) -> None:
    async with run_stack("assistant") as up:
        deaths = [0]

        def kill_each(event: Event) -> None:
            if event.kind in (EventKind.FIRST_AUDIO, EventKind.CALLER_SPEAKS):
                asyncio.get_running_loop().call_later(1.0, kill)

        def kill() -> None:
            process = process_of_the_call(worker_of(up).pid, up.url)
            if deaths[0] < 3 and process is not None:
                deaths[0] += 1
                process.kill()

        await call(up, conversation.load("assistant"), kill_each)
        await wait_until(lambda: logged(up, "call over") != [], because="the call is over")
        (over,) = logged(up, "call over")
    assert (over["outcome"], over["cause"]) == ("failed", "crashed")


async def test_a_call_goes_on_where_livekit_is_away_meanwhile(livekit_server_binary: Path) -> None:
    """It is killed with the call's process, and back 2 s later: the call waits for both."""
    async with one_call(livekit_server_binary) as (up, one, question):
        # Of those without LiveKit nothing tells which one has the call.
        process = the_process(up)
        await processes.kill(up.livekit.process)
        process.kill()
        await asyncio.sleep(2.0)
        up.livekit = await livekit_server.start_again(livekit_server_binary, up.livekit)
        for _ in range(6):
            if await one.is_answered(question, within_seconds=8):
                return
    pytest.fail("nobody answers any more")

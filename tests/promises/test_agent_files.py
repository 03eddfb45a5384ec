"""Agent files that people run, each hosted as it is: what stock LiveKit does with them, and better.

The files are in `cases/`. Each kind of surprise that they hold has neighbours there, so that what
is mended is the kind and not the one file.
"""

import asyncio
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.promises.conftest import RunStack
from tests.promises.test_pod import causes, endpoints_of, exit_code_of, logged, worker_of
from tests.promises.visitor import dispatch, new_room, visiting
from tests.waiting import wait_until
from voicefleet.errors import ExitCode
from voicefleet.job.prewarm import THREADS_END_WITHIN_SECONDS
from voicefleet.lab import processes, stack
from voicefleet.lab.livekit_server import LiveKitServer
from voicefleet.lab.processes import Running
from voicefleet.lab.stack import Stack

pytestmark = pytest.mark.server

CASES = Path(__file__).with_name("cases")
# A caller hangs up, and the slot is free.
FREE_WITHIN_SECONDS = 5.0
# From a death to the end of the programs that it left: SIGTERM, 2 s, SIGKILL.
REAPED_WITHIN_SECONDS = 8.0
KEY_IN_THE_LOG = stack.KEY * 4

Host = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture
def host(run_stack: RunStack, tmp_path: Path) -> Host:
    """A stack that hosts one of the cases; what its file writes down is in `marks(up)`."""

    @asynccontextmanager
    async def hosting(case: str, **extra: str) -> AsyncIterator[Stack]:
        folder = tmp_path / "marks"
        folder.mkdir(exist_ok=True)
        file = str(CASES / f"{case}.py")
        async with run_stack(file, MARKS=str(folder), **extra) as up:
            yield up

    return hosting


def marks(up: Stack) -> Path:
    return up.folder / "marks"


async def written(up: Stack, name: str, within_seconds: float = 10.0) -> str:
    """What the agent file has written down under this name."""
    mark = marks(up) / name
    await wait_until(
        lambda: mark.is_file() and mark.read_text() != "",
        because=f"the file writes {name}",
        timeout_seconds=within_seconds,
    )
    return mark.read_text()


async def drainz(up: Stack) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{await endpoints_of(worker_of(up))}/drainz") as answer,
    ):
        found: dict[str, Any] = await answer.json()
        return found


async def is_free(up: Stack, within_seconds: float = FREE_WITHIN_SECONDS) -> None:
    async def has_no_call_in_a_slot() -> bool:
        now = await drainz(up)
        return bool(now["free_slots"] == now["slots"])

    await wait_until(
        has_no_call_in_a_slot, because="every slot is free", timeout_seconds=within_seconds
    )


async def is_taken(up: Stack) -> None:
    async def has_a_call() -> bool:
        return bool((await drainz(up))["free_slots"] == 0)

    await wait_until(has_a_call, because="the slot is taken")


async def over(up: Stack, *expected: str, within_seconds: float = 15.0) -> None:
    await wait_until(
        lambda: causes(up) == sorted(expected),
        because=f"calls are over for {sorted(expected)}",
        timeout_seconds=within_seconds,
    )


async def leaves_when_told(up: Stack) -> None:
    os.kill(worker_of(up).pid, signal.SIGTERM)
    assert await exit_code_of(worker_of(up)) == ExitCode.OK


async def is_answered(up: Stack, metadata: str = "") -> None:
    """A caller comes, is greeted, and leaves."""
    room = new_room()
    async with visiting(up, room) as visitor:
        await dispatch(up, room, metadata)
        await visitor.is_greeted()


def output(up: Stack) -> list[str]:
    return worker_of(up).log.read_text().splitlines()


def plain_lines(up: Stack) -> list[str]:
    """What is on the pod's standard output and is no record of its log."""
    return [line for line in output(up) if line and not line.startswith("{")]


def counted(text: str) -> dict[str, int]:
    """How many calls /metrics counts for each cause."""
    calls = (line for line in text.splitlines() if line.startswith("voicefleet_calls_total{"))
    found = ((line.split('cause="')[1].split('"')[0], line.rpartition(" ")[2]) for line in calls)
    return {cause: int(float(count)) for cause, count in found if float(count)}


async def metrics(up: Stack) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{await endpoints_of(worker_of(up))}/metrics") as answer,
    ):
        return await answer.text()


# 1. The file's own server is the one that runs.


async def test_a_handler_that_counts_the_servers_jobs_takes_one_caller_and_refuses_the_next(
    host: Host,
) -> None:
    async with host("one_job_at_a_time") as up:
        first, second = new_room(), new_room()
        async with visiting(up, first) as solo:
            await dispatch(up, first)
            agent = await solo.meets_an_agent()
            assert (agent.name, agent.attributes["tenant"]) == ("solo", "north")
            await solo.is_greeted()
            async with visiting(up, second) as next_one:
                await dispatch(up, second)
                await wait_until(lambda: bool(logged(up, "refused")), because="it is refused")
                assert next_one.agents() == []
        await over(up, "caller_left")
        assert [record["cause"] for record in logged(up, "refused")] == ["agent_file"]


async def test_the_servers_events_reach_the_files_listeners(host: Host) -> None:
    async with host("server_events") as up:
        worker_id, _, own_id = (await written(up, "registered")).partition(" ")
        assert worker_id == own_id != "unregistered"
        assert await written(up, "started") == "started"
        (record,) = logged(up, "registered worker")
        assert record["id"] == worker_id


async def test_a_server_class_of_the_files_own_sees_its_calls_and_its_id(host: Host) -> None:
    async with host("own_server_class") as up:
        (record,) = logged(up, "registered worker")
        await wait_until(
            lambda: (marks(up) / "active").read_text() == f"{record['id']} 0", because="no call yet"
        )
        room = new_room()
        async with visiting(up, room) as visitor:
            await dispatch(up, room)
            await visitor.is_greeted()
            assert (marks(up) / "active").read_text() == f"{record['id']} 1"
        await over(up, "caller_left")
        (replaced,) = logged(up, "options of the agent file's server are replaced")
        assert replaced["options"] == ["load_threshold", "num_idle_processes"]


async def test_a_server_that_its_file_drains_takes_no_more_and_keeps_its_call(host: Host) -> None:
    """And SIGTERM finds a drain that is not the pod's, and waits for the call all the same."""
    async with host("drained_by_the_file") as up:
        room = new_room()
        async with visiting(up, room) as visitor:
            await dispatch(up, room)
            await visitor.is_greeted()
            os.kill(worker_of(up).pid, signal.SIGTERM)
            await asyncio.sleep(3.0)
            assert processes.is_alive(worker_of(up))
            assert visitor.agents()
        assert await exit_code_of(worker_of(up)) == ExitCode.OK
        assert causes(up) == ["caller_left"]


# 2. What an import does to the process stays out of it.


def assert_that_the_log_is_the_pods_own(up: Stack) -> None:
    assert plain_lines(up) == []
    records = [json.loads(line) for line in output(up)]
    assert {"level", "name", "message", "timestamp"} <= set.intersection(*map(set, records))
    (order, *_) = [record for record in records if record["message"].startswith("order for")]
    assert "[hidden]" in order["message"]
    assert order["job_id"]
    assert order["trace_id"]
    assert not [line for line in output(up) if KEY_IN_THE_LOG in line]
    for ended in logged(up, "call over"):
        assert {"job_id", "room_id", "outcome", "cause", "seconds"} <= ended.keys()


@pytest.mark.parametrize(
    "case", ["own_logging_dictconfig", "own_logging_force", "own_logging_fileconfig"]
)
async def test_a_file_with_its_own_logging_leaves_the_pods_log_and_the_causes_as_they_are(
    host: Host, case: str
) -> None:
    """Its records go into the pod's log, redacted and with their ids."""
    key = {"OPENAI_API_KEY": stack.KEY, "VOICEFLEET_REPORT_TOKEN": KEY_IN_THE_LOG}
    memory = {
        "VOICEFLEET_CALL_MEMORY_WARN_BYTES": "350MiB",
        "VOICEFLEET_CALL_MEMORY_LIMIT_BYTES": "400MiB",
    }
    async with host(case, **key, **memory) as up:
        await is_answered(up)
        await over(up, "caller_left")
        for metadata, cause in (("crash", "crashed"), ("leak", "memory")):
            if metadata == "leak" and case == "own_logging_fileconfig":
                continue
            async with visiting(up, room := new_room()):
                await dispatch(up, room, metadata)
                await wait_until(
                    lambda cause=cause: cause in causes(up),  # type: ignore[misc]
                    because=f"{metadata} is {cause}",
                    timeout_seconds=40.0,
                )
        await leaves_when_told(up)
        assert_that_the_log_is_the_pods_own(up)


async def test_a_file_that_sets_up_its_logging_in_the_call_leaves_the_pods_log_as_it_is(
    host: Host,
) -> None:
    key = {"OPENAI_API_KEY": stack.KEY, "VOICEFLEET_REPORT_TOKEN": KEY_IN_THE_LOG}
    async with host("own_logging_late", **key) as up:
        await is_answered(up)
        await over(up, "caller_left")
        await leaves_when_told(up)
        assert_that_the_log_is_the_pods_own(up)


@pytest.mark.parametrize("to_the_group", [False, True], ids=["to the pod", "to its group"])
async def test_a_file_with_its_own_end_at_sigterm_does_not_end_a_call(
    host: Host, to_the_group: bool
) -> None:
    async with host("own_sigterm") as up:
        room, worker = new_room(), worker_of(up)
        async with visiting(up, room) as visitor:
            await dispatch(up, room)
            await visitor.meets_an_agent()
            for _ in range(2):
                if to_the_group:
                    os.killpg(os.getpgid(worker.pid), signal.SIGTERM)
                else:
                    os.kill(worker.pid, signal.SIGTERM)
                await asyncio.sleep(0.5)
            await visitor.is_greeted()
            await asyncio.sleep(2.0)
            assert visitor.agents()
            assert "BYE" not in output(up)
        assert await exit_code_of(worker) == ExitCode.OK
        assert causes(up) == ["caller_left"]


@pytest.mark.parametrize("case", ["old_worker_options", "unguarded_run_app"])
async def test_a_file_of_another_style_is_hosted_like_any_other(host: Host, case: str) -> None:
    """Options in place of a server, and `run_app` outside of its guard, are run by the pod."""
    async with host(case) as up:
        await is_answered(up)
        await over(up, "caller_left")
        checked = await check(up.folder, environment_of(up, case))
        assert f"ok    agent file: {CASES / case}.py, dispatched as" in checked
        await leaves_when_told(up)


async def test_options_given_by_a_function_main_are_hosted_with_their_handler(host: Host) -> None:
    async with host("main_function") as up:
        room = new_room()
        async with visiting(up, room) as visitor:
            await dispatch(up, room)
            agent = await visitor.meets_an_agent()
            assert (agent.name, agent.attributes["tenant"]) == ("Main", "north")
            await visitor.is_greeted()
        await dispatch(up, new_room(), "blocked")
        await wait_until(lambda: bool(logged(up, "refused")), because="a blocked one is refused")
        assert [record["cause"] for record in logged(up, "refused")] == ["agent_file"]
        await over(up, "caller_left")
        await leaves_when_told(up)


async def test_a_file_that_changes_its_process_is_hosted_and_its_thread_works(host: Host) -> None:
    async with host("changes_the_process") as up:
        worker, room = worker_of(up), new_room()
        parent = psutil.Process(worker.pid)
        async with visiting(up, room) as visitor:
            await dispatch(up, room)
            await visitor.is_greeted()
            assert Path(parent.cwd()) == up.folder
            os.kill(worker.pid, signal.SIGINT)
            await asyncio.sleep(2.0)
            assert visitor.agents()
        assert await exit_code_of(worker) == ExitCode.OK
        assert causes(up) == ["caller_left"]
        assert (marks(up) / f"beat-{worker.pid}").is_file()
        assert not (marks(up) / "policy").exists()
        assert plain_lines(up) == []


# 3. Whether a caller is still there is known without a session, too.


async def test_a_call_whose_entrypoint_never_comes_to_a_session_frees_its_slot_with_its_caller(
    host: Host,
) -> None:
    """Stock keeps the slot of the first two until its process ends."""
    kinds = ("hangs", "forgets", "waits", "fails", "refuses")
    expected = ["agent_left", "caller_left", "caller_left", "caller_left", "error"]
    async with host("slow_backend", VOICEFLEET_SLOTS="1") as up:
        for kind in kinds:
            room = new_room()
            await dispatch(up, room, kind)
            async with visiting(up, room):
                await asyncio.sleep(4.0)
                if kind in ("hangs", "forgets", "waits"):
                    assert (await drainz(up))["free_slots"] == 0
            await is_free(up)
            await written(up, f"{room}.booked")
        await over(up, *expected)

        # One more, and the pod is told to stop meanwhile.
        room = new_room()
        await dispatch(up, room, "hangs")
        async with visiting(up, room):
            await is_taken(up)
            await asyncio.sleep(3.0)
            os.kill(worker_of(up).pid, signal.SIGTERM)
            await asyncio.sleep(1.0)
            assert processes.is_alive(worker_of(up))
        assert await exit_code_of(worker_of(up)) == ExitCode.OK
        assert causes(up) == sorted([*expected, "caller_left"])


async def test_a_call_to_which_nobody_comes_frees_its_slot(host: Host) -> None:
    """A real caller who is there is not taken for nobody, however long the entrypoint waits."""
    short = {"VOICEFLEET_EMPTY_ROOM_SECONDS": "4", "VOICEFLEET_SLOTS": "1"}
    async with host("slow_backend", **short) as up:
        for kind in ("hangs", "waits"):
            await dispatch(up, new_room(), kind)
            await is_taken(up)
            await is_free(up, within_seconds=12.0)
        await over(up, "nobody_came", "nobody_came")
        async with visiting(up, room := new_room()):
            await dispatch(up, room, "waits")
            await asyncio.sleep(10.0)
            assert (await drainz(up))["free_slots"] == 0
        await is_free(up)
        await over(up, "nobody_came", "nobody_came", "caller_left")


async def test_a_call_without_a_session_or_no_longer_with_its_first_ends_with_its_caller(
    host: Host,
) -> None:
    """One whose entrypoint swallows its cancellation gives its slot back as quickly."""
    short = {"VOICEFLEET_EMPTY_ROOM_SECONDS": "4", "VOICEFLEET_SLOTS": "1"}
    async with host("without_session", **short) as up:
        for kind in ("echoes", "lingers", "second"):
            room = new_room()
            await dispatch(up, room, kind)
            async with visiting(up, room) as visitor:
                if kind == "second":
                    await visitor.is_greeted()
                await asyncio.sleep(7.0)
                assert (await drainz(up))["free_slots"] == 0
            await is_free(up)
            await written(up, f"{room}.booked")
        room = new_room()
        await dispatch(up, room, "swallows")
        async with visiting(up, room):
            await asyncio.sleep(4.0)
        await is_free(up)
        await over(up, *["caller_left"] * 3, within_seconds=5.0)


async def test_an_agent_that_serves_the_next_visitor_is_not_taken_from_its_room(
    host: Host,
) -> None:
    async with host("next_visitor") as up:
        room = new_room()
        await dispatch(up, room)
        async with visiting(up, room, "ada") as ada:
            await ada.is_greeted("Good day ada")
            bob = visiting(up, room, "bob")
            there = await bob.__aenter__()
        try:
            await there.is_greeted("Good day bob")
            await asyncio.sleep(3.0)
            assert there.agents()
            assert causes(up) == []
        finally:
            await bob.__aexit__(None, None, None)
        await over(up, "caller_left")


@pytest.mark.parametrize("by", ["automatic dispatch", "the token's dispatch"])
async def test_a_caller_who_is_back_in_the_same_room_is_answered_again(host: Host, by: str) -> None:
    """LiveKit dispatches when a room is made, and keeps an empty one for 20 s: stock leaves whoever
    reloads the page alone.
    """
    is_named = by == "the token's dispatch"
    named = {"NAME_OF_AGENT": "greeter"} if is_named else {}
    asks_for = "greeter" if is_named else None
    async with host("page_reload", **named) as up:
        room = new_room()
        for pause_seconds in (2.0, 10.0, 0.0):
            async with visiting(up, room, asks_for=asks_for) as visitor:
                await visitor.is_greeted()
            await asyncio.sleep(pause_seconds)
        await over(up, *["caller_left"] * 3)


# 4. What the file does at the end of a call is done to its end.


async def test_a_shutdown_callback_has_the_time_that_its_file_gives_it(host: Host) -> None:
    """LiveKit's 10 s began to count when the room was closed, or the pod drained."""
    async with host("long_shutdown_callback", VOICEFLEET_SLOTS="2") as up:
        rooms = [new_room(), new_room()]
        for room in rooms:
            await dispatch(up, room, "25")
        async with visiting(up, rooms[0]) as one, visiting(up, rooms[1]) as other:
            await one.meets_an_agent()
            await other.meets_an_agent()
        for room in rooms:
            await written(up, f"{room}.begun")
        os.kill(worker_of(up).pid, signal.SIGTERM)
        assert await exit_code_of(worker_of(up)) == ExitCode.OK
        assert all((marks(up) / f"{room}.done").is_file() for room in rooms)
        assert causes(up) == ["caller_left", "caller_left"]


async def test_a_shutdown_callback_outlives_the_drains_deadline(host: Host) -> None:
    async with host("long_shutdown_callback", VOICEFLEET_DRAIN_TIMEOUT_SECONDS="2") as up:
        room = new_room()
        await dispatch(up, room, "15")
        async with visiting(up, room) as visitor:
            await visitor.meets_an_agent()
            os.kill(worker_of(up).pid, signal.SIGTERM)
            await written(up, f"{room}.begun", within_seconds=30.0)
        assert await exit_code_of(worker_of(up)) == ExitCode.OK
        assert (marks(up) / f"{room}.done").is_file()
        assert causes(up) == ["drained"]


async def test_a_shutdown_callback_that_is_cut_off_is_the_cause_of_its_call(host: Host) -> None:
    short = {
        "VOICEFLEET_SHUTDOWN_TIMEOUT_SECONDS": "3",
        "VOICEFLEET_DRAIN_TIMEOUT_SECONDS": "2",
        # After the deadline the pod waits so long for the ends of its calls.
        "VOICEFLEET_SESSION_END_TIMEOUT_SECONDS": "1",
    }
    async with host("long_shutdown_callback", **short) as up:
        room = new_room()
        await dispatch(up, room, "100")
        async with visiting(up, room) as visitor:
            await visitor.meets_an_agent()
            os.kill(worker_of(up).pid, signal.SIGTERM)
        assert await exit_code_of(worker_of(up)) == ExitCode.OK
        assert (marks(up) / f"{room}.begun").is_file()
        assert not (marks(up) / f"{room}.done").is_file()
        (ended,) = logged(up, "call over")
        assert (ended["cause"], ended["outcome"]) == ("end_cut_off", "completed")


async def test_a_file_with_an_end_of_its_own_is_held_to_it_and_its_call_counted_once(
    host: Host,
) -> None:
    async with host("ends_by_itself", VOICEFLEET_SLOTS="1") as up:
        for kind in ("leaves", "raises", "writes"):
            room = new_room()
            await dispatch(up, room, kind)
            async with visiting(up, room) as visitor:
                await visitor.meets_an_agent()
            await is_free(up)
            assert await written(up, f"{room}.booked") == kind
            assert await written(up, f"{room}.ended") == "ended"
            if kind == "writes":
                assert await written(up, f"{room}.written") == "written"
        await over(up, *["caller_left"] * 3)
        assert (await drainz(up))["calls"] == 0


# 5. What a call leaves behind goes with it.


def alive(pids: list[int]) -> list[int]:
    """Those that there still are, zombies included."""
    return [pid for pid in pids if psutil.pid_exists(pid)]


def descendants_of(worker: Running) -> list[str]:
    """The pod's programs that are none of its own, and its zombies."""
    found = list[str]()
    for process in psutil.Process(worker.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            is_zombie = process.status() == psutil.STATUS_ZOMBIE
            if is_zombie or "python" not in process.name():
                found.append(f"{process.name()} {process.status()}")
    return found


async def pids_of(up: Stack, room: str) -> list[int]:
    return [int(pid) for pid in (await written(up, f"{room}.pids")).split()]


async def nothing_is_left(
    up: Stack, pids: list[int], within_seconds: float = REAPED_WITHIN_SECONDS
) -> None:
    await wait_until(
        lambda: alive(pids) == [] and descendants_of(worker_of(up)) == [],
        because=f"{pids} have gone, and left nothing",
        timeout_seconds=within_seconds,
    )


async def test_programs_of_an_ended_call_are_ended_and_leave_no_zombie(host: Host) -> None:
    """Also after a job that was killed; and a thread that never ends keeps no process."""
    async with host("child_processes", VOICEFLEET_SLOTS="1") as up:
        for metadata in ("", "thread", "killed"):
            room = new_room()
            await dispatch(up, room, metadata)
            async with visiting(up, room) as visitor:
                await visitor.meets_an_agent()
                pids = await pids_of(up, room)
                if metadata == "killed":
                    os.kill(pids[0], signal.SIGKILL)
            await is_free(up)
            within = THREADS_END_WITHIN_SECONDS if metadata == "thread" else 0.0
            await nothing_is_left(up, pids, within + REAPED_WITHIN_SECONDS)
        await over(up, "caller_left", "caller_left", "crashed")
        (replaced,) = logged(up, "options of the agent file's server are replaced")
        assert replaced["options"] == [
            "load_fnc",
            "drain_timeout",
            "job_executor_type",
            "job_memory_limit_mb",
        ]
        await leaves_when_told(up)


@pytest.mark.parametrize("is_killed", [False, True], ids=["ends", "is killed"])
async def test_programs_that_do_not_want_to_end_go_with_a_call_that(
    host: Host, is_killed: bool
) -> None:
    async with host("stubborn_programs", VOICEFLEET_SLOTS="1") as up:
        for kind in ("deaf", "detached", "spawned"):
            room = new_room()
            await dispatch(up, room, kind)
            async with visiting(up, room) as visitor:
                await visitor.meets_an_agent()
                pids = await pids_of(up, room)
                if is_killed:
                    os.kill(pids[0], signal.SIGKILL)
            await is_free(up)
            await nothing_is_left(up, pids)
        await over(up, *["crashed" if is_killed else "caller_left"] * 3)
        await leaves_when_told(up)


async def test_programs_that_the_file_starts_in_the_pod_are_its_own(host: Host) -> None:
    """A call that ends or dies meanwhile does not have them taken for its orphans."""
    async with host("asks_a_program") as up:
        sidecar = int(await written(up, "sidecar"))
        await dispatch(up, new_room(), "dies")
        await wait_until(lambda: causes(up) == ["crashed"], because="one call has died")
        for _ in range(2):
            room = new_room()
            async with visiting(up, room) as visitor:
                await dispatch(up, room)
                agent = await visitor.meets_an_agent()
                assert agent.attributes["tenant"] == "north"
                await visitor.is_greeted()
        assert alive([sidecar])
        await over(up, "caller_left", "caller_left", "crashed")
        await leaves_when_told(up)


# 6. What is refused is said, and counted by its cause.


async def refused_for(up: Stack, *metadata: str) -> Counter[str]:
    """The causes of the pod's refusals, after a dispatch for each."""
    for number, text in enumerate(metadata, 1):
        await dispatch(up, new_room(), text)
        await wait_until(
            lambda number=number: len(logged(up, "refused")) >= number,  # type: ignore[misc]
            because=f"a handler that {text} is refused",
        )
    return Counter(record["cause"] for record in logged(up, "refused"))


async def test_each_caller_whom_the_handler_does_not_take_is_logged_and_counted(
    host: Host,
) -> None:
    async with host("handler_raises", VOICEFLEET_SLOTS="1") as up:
        causes_ = await refused_for(up, "raises", "silent", "rejects")
        assert causes_ == {"agent_file_failed": 2, "agent_file": 1}
        assert counted(await metrics(up)) == causes_
        (raised,) = logged(up, "on_request raised")
        assert "no such tenant" in raised["exc_info"]
        async with visiting(up, room := new_room()) as visitor:
            await dispatch(up, room)
            agent = await visitor.meets_an_agent()
            assert (agent.identity, agent.name, agent.metadata) == ("desk-1", "Desk", "m")
            assert agent.attributes["tenant"] == "north"
        await over(up, "caller_left")


async def test_a_handler_that_hangs_or_answers_twice_is_one_refusal_and_takes_no_slot(
    host: Host,
) -> None:
    async with host("handler_answers", VOICEFLEET_SLOTS="1") as up:
        causes_ = await refused_for(up, "hangs", "twice", "leaves")
        assert causes_ == {"agent_file_failed": 2, "agent_file": 1}
        assert counted(await metrics(up)) == causes_
        assert logged(up, "a second answer to an offer is not sent")
        await is_free(up)
        for kind in ("blocks", "then raises"):
            await is_answered(up, kind)
            await is_free(up)
        await over(up, "caller_left", "caller_left")
        await leaves_when_told(up)


# Where the keys are is the file's own affair, too.


def environment_of(up: Stack, case: str) -> dict[str, str]:
    its_own = {"VOICEFLEET_AGENT": f"{CASES / case}.py", "MARKS": str(marks(up))}
    return stack.operator_environment(up) | its_own


async def check(folder: Path, environment: dict[str, str]) -> str:
    """What `voicefleet check` says, run in this folder."""
    checking = await asyncio.create_subprocess_exec(
        *processes.python("voicefleet", "check"),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await checking.communicate()
    return said.decode()


@asynccontextmanager
async def hosted_with_keys_in(
    file: Path, folder: Path, agent: Path, livekit: LiveKitServer
) -> AsyncIterator[Stack]:
    """A worker in `folder` whose environment has nothing but VOICEFLEET_… in it: its keys are in
    this file.
    """
    providers, providers_url = await stack.start_providers(folder, "assistant")
    keys = {
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": livekit.api_key,
        "LIVEKIT_API_SECRET": livekit.api_secret,
        "OPENAI_API_KEY": stack.KEY,
        "OPENAI_BASE_URL": f"{providers_url}/openai/v1",
        "MY_AGENT_NAME": "starter",
    }
    lines = "".join(f"{name}={value}\n" for name, value in keys.items())
    await asyncio.to_thread(file.write_text, lines)
    environment = stack.clean_environment() | {
        "VOICEFLEET_AGENT": str(agent),
        "VOICEFLEET_HTTP_PORT": "0",
        "VOICEFLEET_SLOTS": "1",
    }
    parts = [providers]
    try:
        checked = await check(folder, environment)
        assert f"ok    LiveKit: {livekit.url}" in checked, checked
        start = processes.python("voicefleet", "start")
        worker = processes.start("worker", start, environment=environment, folder=folder)
        parts.append(worker)
        line = await processes.wait_for_line(
            worker, lambda line: '"registered worker"' in line, within_seconds=60
        )
        yield Stack(
            *(livekit.url, livekit.api_key, livekit.api_secret, providers_url),
            agent_name=str(json.loads(line)["agent_name"]),
            folder=folder,
            parts=tuple(parts),
        )
    finally:
        for part in reversed(parts):
            await processes.stop(part)


@pytest.mark.asyncio(loop_scope="session")
async def test_keys_in_an_env_local_are_those_of_the_pod_and_of_the_check(
    tmp_path: Path, livekit_server: LiveKitServer
) -> None:
    """LiveKit's starter project keeps them there. They win over what `.env` says."""
    (tmp_path / ".env").write_text("LIVEKIT_URL=ws://another.example\nVOICEFLEET_LOG_LEVEL=INFO\n")
    agent, file = CASES / "env_local.py", tmp_path / ".env.local"
    async with hosted_with_keys_in(file, tmp_path, agent, livekit_server) as up:
        assert up.agent_name == "starter"
        await is_answered(up)
        await over(up, "caller_left")
        await leaves_when_told(up)


@pytest.mark.asyncio(loop_scope="session")
async def test_keys_that_only_the_file_itself_loads_are_those_of_the_pod_and_of_the_check(
    tmp_path: Path, livekit_server: LiveKitServer
) -> None:
    """And they are kept out of the log like the others."""
    beside = tmp_path / "elsewhere"
    beside.mkdir()
    agent = Path(shutil.copy(CASES / "env_beside_the_file.py", beside))
    async with hosted_with_keys_in(beside / ".env", tmp_path, agent, livekit_server) as up:
        await is_answered(up)
        await over(up, "caller_left")
        await leaves_when_told(up)
        assert not [line for line in output(up) if livekit_server.api_secret in line]

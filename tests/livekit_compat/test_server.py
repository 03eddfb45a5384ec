"""LiveKit's `AgentServer` and its pool still are as `livekit_compat/server.py` takes them.

Where it can be had, a real server runs here, unregistered and without processes.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from livekit.agents import AgentServer, JobContext, JobExecutorType, JobProcess, JobRequest
from livekit.agents.ipc.inference_proc_executor import InferenceProcExecutor
from livekit.agents.job import RunningJobInfo
from livekit.agents.utils import EventEmitter
from livekit.agents.worker import WorkerPermissions
from livekit.protocol import agent, models

from tests.livekit_compat.contract import expect, expected_to_work
from tests.waiting import wait_until
from voicefleet.livekit_compat import server as livekit_server
from voicefleet.livekit_compat.server import Hooks, Options

WHERE = "See livekit_compat/server.py."

OPTIONS = Options(
    url="ws://127.0.0.1:9",
    api_key="key",
    api_secret="secret" * 6,
    agent_name="ours",
    max_retry=0,
    load_threshold=0.7,
    idle_processes=0,
    initialize_timeout_seconds=1,
    drain_timeout_seconds=2,
    session_end_timeout_seconds=3,
    shutdown_timeout_seconds=6,
    memory_warn_mb=4,
    memory_limit_mb=5,
    preload_modules=("voicefleet.errors",),
    log_level="INFO",
)


async def entrypoint(ctx: JobContext) -> None: ...


async def session_end(ctx: JobContext) -> None: ...


async def request(request: JobRequest) -> None: ...


def simulation_end(simulation: object) -> None: ...


def setup(process: JobProcess) -> None: ...


def a_load() -> float:
    return 0.1


HOOKS = Hooks(
    entrypoint=entrypoint,
    on_session_end=session_end,
    on_simulation_end=simulation_end,
    setup=setup,
    on_request=request,
    load=a_load,
)


@pytest.fixture(autouse=True)
def no_livekit_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set and then unset, so that what a running server leaves there goes with the test."""
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def configured(server: AgentServer | None = None, **hooks: Any) -> AgentServer:
    server = server or AgentServer()
    with expected_to_work(
        "A server can no longer be given our options (`update_options` or a private attribute of"
        f" AgentServer has changed): no pod starts. {WHERE}"
    ):
        livekit_server.configure(server, OPTIONS, replace(HOOKS, **hooks))
    return server


@asynccontextmanager
async def running(
    server: AgentServer, at_start: Callable[[], object] = lambda: None
) -> AsyncIterator[AgentServer]:
    """A started server without a connection, as after its event `worker_started`."""
    started = asyncio.Event()
    server.on("worker_started", at_start)
    server.on("worker_started", started.set)
    life = asyncio.create_task(server.run(unregistered=True), name="server")
    start = asyncio.create_task(started.wait(), name="start of the server")
    await asyncio.wait({life, start}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
    expect(
        started.is_set(),
        "AgentServer.run no longer emits `worker_started` when it has started: the pod would not"
        f" be ready, and watch no process. {WHERE} {life}",
    )
    try:
        yield server
    finally:
        await server.aclose()
        await life


# What each private attribute is for. Ours are written to: under another name LiveKit would go on
# with its own and nobody would hear of it.
ATTRIBUTES = {
    "_agent_name": "the agent's name of the file is lost, and VOICEFLEET_AGENT_NAME does nothing",
    "_entrypoint_fnc": "no call is supervised",
    "_request_fnc": "LiveKit answers each offer itself, past the slots",
    "_session_end_fnc": "sessions stay open at the end of a call",
    "_simulation_end_fnc": "the file's handler of a simulation's end does not run",
    "_preload_modules": "each job loads by itself what the forkserver should share",
    "_host": "LiveKit's own health port listens to the outside",
    "_port": "LiveKit's own health port is a fixed one, which two pods on a machine cannot share",
    "_mp_ctx": "a file's choice of `spawn` makes each process load everything anew",
    "_mp_ctx_str": "a file's choice of `spawn` makes each process load everything anew",
    "_log_level": "the file's log level holds in place of VOICEFLEET_LOG_LEVEL",
}


@pytest.mark.parametrize("name", [*ATTRIBUTES, *livekit_server.REPLACED_OPTIONS.values()])
def test_a_server_still_has_the_attribute(name: str) -> None:
    breaks = ATTRIBUTES.get(name, "an option of the file that is replaced is no longer named")
    expect(
        name in vars(AgentServer()),
        f"LiveKit's AgentServer no longer has {name}: {breaks}. {WHERE}",
    )


def test_what_a_file_registers_is_read() -> None:
    server = AgentServer(setup_fnc=setup)
    server.rtc_session(
        entrypoint,
        agent_name="theirs",
        on_request=request,
        on_session_end=session_end,
        on_simulation_end=simulation_end,
    )
    expect(
        livekit_server.registered(server)
        == livekit_server.Registered(
            "theirs", entrypoint, request, session_end, simulation_end, setup
        ),
        "What @server.rtc_session registers is kept elsewhere in AgentServer: the file's own"
        f" handlers would not run, or its calls not start. {WHERE}",
    )


def test_a_second_session_of_a_server_is_refused_in_the_words_we_know() -> None:
    server = AgentServer()
    server.rtc_session(entrypoint)
    with pytest.raises(Exception, match=r".") as refused:
        server.rtc_session(session_end)
    expect(
        "only one rtc_session" in str(refused.value),
        "LiveKit says in other words that a server takes one session: a file with two is reported"
        f" as one that does not import. See job/agent_file.py. It says: {refused.value}",
    )


GIVEN: dict[str, Any] = {
    "ws_url": "ws://theirs",
    "api_key": "theirs",
    "api_secret": "theirs",
    "host": "127.0.0.2",
    "port": 1,
    "load_fnc": a_load,
    "load_threshold": 0.1,
    "max_retry": 1,
    "num_idle_processes": 1,
    "initialize_process_timeout": 1.5,
    "session_end_timeout": 1.5,
    "drain_timeout": 1,
    "job_executor_type": JobExecutorType.THREAD,
    "job_memory_warn_mb": 1.5,
    "job_memory_limit_mb": 1.5,
    "multiprocessing_context": "spawn",
    "log_level": "ERROR",
}


@pytest.mark.parametrize("option", livekit_server.REPLACED_OPTIONS)
def test_an_option_of_the_file_that_we_replace_is_named(option: str) -> None:
    with expected_to_work(
        f"AgentServer no longer takes the option {option}: take it out of REPLACED_OPTIONS. {WHERE}"
    ):
        server = AgentServer(**{option: GIVEN[option]})
    expect(
        livekit_server.replaced_options(server) == [option],
        f"AgentServer keeps its option {option} under another name: a file that sets it is not"
        f" told that our setting holds. {WHERE}",
    )


def test_a_files_time_for_shutdown_callbacks_is_read_and_named_where_a_setting_replaces_it() -> (
    None
):
    server = AgentServer(shutdown_process_timeout=77)
    expect(
        livekit_server.shutdown_timeout_seconds(server) == 77,
        "AgentServer keeps shutdown_process_timeout under another name: the agent file's shutdown"
        f" callbacks do not get the time that it gives them. {WHERE}",
    )
    assert livekit_server.shutdown_timeout_seconds(AgentServer()) is None
    replaced = [livekit_server.replaced_options(server, seconds) for seconds in (None, 77, 60)]
    assert replaced == [[], [], ["shutdown_process_timeout"]]


def test_of_a_plain_server_no_option_is_named() -> None:
    assert livekit_server.replaced_options(AgentServer()) == []


def test_what_livekits_own_variables_say_is_no_option_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file without options made the log say that its options are replaced."""
    monkeypatch.setenv("LIVEKIT_URL", "ws://localhost:7880")
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "secret")
    assert livekit_server.replaced_options(AgentServer()) == []


def test_our_options_and_hooks_are_in_their_places() -> None:
    server = configured()
    expected = {
        "_ws_url": OPTIONS.url,
        "_api_key": OPTIONS.api_key,
        "_api_secret": OPTIONS.api_secret,
        "_max_retry": 0,
        "_job_executor_type": JobExecutorType.PROCESS,
        "_load_threshold": 0.7,
        "_job_memory_warn_mb": 4,
        "_job_memory_limit_mb": 5,
        "_drain_timeout": 2,
        "_num_idle_processes": 0,
        "_session_end_timeout": 3,
        "_shutdown_process_timeout": 6,
        "_initialize_process_timeout": 1,
        "_load_fnc": a_load,
        "_setup_fnc": setup,
        "_request_fnc": request,
        "_entrypoint_fnc": entrypoint,
        "_session_end_fnc": session_end,
        "_simulation_end_fnc": simulation_end,
        "_agent_name": "ours",
    }
    for name, value in expected.items():
        expect(
            getattr(server, name, None) == value,
            f"After `configure`, AgentServer has not our value in {name}: `update_options` or a"
            f" setter puts it elsewhere, and the setting does nothing. {WHERE}",
        )


def test_what_else_a_file_has_set_stays() -> None:
    theirs = AgentServer(
        permissions=WorkerPermissions(hidden=True),
        http_proxy="http://proxy",
        preload_modules=["json"],
    )
    heard: list[str] = []
    theirs.on("worker_registered", lambda *_: heard.append("theirs"))
    server = configured(theirs)
    server.emit("worker_registered", "W_1", None)
    assert heard == ["theirs"]
    for name, value in (
        ("_permissions", WorkerPermissions(hidden=True)),
        ("_http_proxy", "http://proxy"),
        ("_preload_modules", ["json", "voicefleet.errors"]),
    ):
        expect(
            getattr(server, name, None) == value,
            f"A file's own option in {name} does not outlive `configure`: the agent does not behave"
            f" as it does under LiveKit. {WHERE}",
        )


async def test_a_running_server_shares_our_modules_and_keeps_its_health_port_to_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "livekit.agents")
    async with running(configured()) as server:
        (packages,) = [vars(r)["packages"] for r in caplog.records if "packages" in vars(r)]
        expect(
            "voicefleet.errors" in packages,
            "LiveKit's forkserver no longer preloads `_preload_modules`: each job loads by itself"
            f" what it should share, and a pod needs more memory. {WHERE}",
        )
        host = server._http_server and server._http_server.host
        expect(
            host == "127.0.0.1",
            f"LiveKit's own health port listens on {host!r}, not on `_host` as we set it. {WHERE}",
        )


def offer() -> agent.AvailabilityRequest:
    room = models.Room(name="room", sid="RM_1")
    return agent.AvailabilityRequest(job=agent.Job(id="AJ_1", room=room))


@pytest.mark.parametrize("is_patched", [True, False])
async def test_every_offer_is_for_our_admission_to_answer_also_when_the_load_is_full(
    monkeypatch: pytest.MonkeyPatch, is_patched: bool
) -> None:
    """LiveKit alone refuses then: it is the method that it asks which we replace."""
    asked: list[str] = []
    answered: list[agent.WorkerMessage] = []

    async def refuse(request: JobRequest) -> None:
        asked.append(request.id)
        await request.reject()

    async def keep(message: agent.WorkerMessage) -> None:
        answered.append(message)

    async with running(configured(on_request=refuse, load=lambda: 1.0)) as server:
        if not is_patched:
            vars(server).pop("_is_available", None)
        monkeypatch.setattr(server, "_queue_msg", keep)
        await server._answer_availability(offer())
        await wait_until(lambda: bool(answered), because="the offer is answered")
    expect(
        bool(asked) is is_patched,
        "LiveKit's AgentServer no longer asks `_is_available` before an offer: a full load is"
        f" refused by LiveKit's own estimate, before our admission and uncounted. {WHERE}"
        if is_patched
        else "LiveKit's AgentServer no longer refuses by its own estimate: `_is_available` need not"
        f" be replaced any more. {WHERE}",
    )


async def test_a_burst_does_not_read_full_while_there_are_slots() -> None:
    """LiveKit guesses what calls weigh that have not begun yet, from the number of idle processes:
    ours are as many as there are slots.
    """
    server = configured(AgentServer())
    async with running(server):
        server._num_idle_processes, server._reserved_slots, server._worker_load = 4, 3, 0.0
        load = server._get_effective_load()
    expect(
        load < OPTIONS.load_threshold,
        f"LiveKit reads a load of {load} where 3 of 4 slots are promised: a pod reports itself full"
        " in a burst while slots are free. See `_options` in pod/pod.py",
    )


async def test_the_load_is_read_and_reported_when_we_ask_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[agent.WorkerMessage] = []

    async def keep(message: agent.WorkerMessage) -> None:
        sent.append(message)

    loads = iter((0.1, 0.4, *[0.5] * 100))
    async with running(configured(load=lambda: next(loads))) as server:
        await wait_until(lambda: server._worker_load > 0, because="LiveKit has read the load once")
        monkeypatch.setattr(server, "_queue_msg", keep)
        await livekit_server.report_load_now(server)
    reported = [message.update_worker for message in sent if message.HasField("update_worker")]
    expect(
        reported and reported[0].load >= 0.4 - 1e-6,
        "`_refresh_worker_load` and `_update_worker_status` of LiveKit's AgentServer no longer read"
        " the load and report it: a slot that has become free is reported up to 2.5 s later, and"
        f" the next caller is refused. {WHERE} {sent}",
    )


class RefusingSession:
    """In place of LiveKit's HTTP session: each websocket fails."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.attempts = 0

    async def ws_connect(self, *_: Any, **__: Any) -> Any:
        self.attempts += 1
        raise OSError("refused")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


async def test_connections_go_through_our_session_and_a_last_failure_is_known_and_hidden(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = configured()
    wrapped: list[RefusingSession] = []

    def wrap(session: aiohttp.ClientSession) -> RefusingSession:
        wrapped.append(RefusingSession(session))
        return wrapped[-1]

    server.on("worker_started", lambda: livekit_server.wrap_http_session(server, wrap))
    with expected_to_work(f"The HTTP session of a server cannot be wrapped. {WHERE}"):
        with livekit_server.hidden_connection_error(), pytest.raises(RuntimeError) as gone:
            async with asyncio.timeout(20):
                await server.run()
        await server.aclose()
    expect(
        wrapped and wrapped[0].attempts == 1,
        "LiveKit's AgentServer no longer connects through `_http_session` as it is after"
        " `worker_started`: a server that refuses is asked hundreds of times a second. See"
        " livekit_compat/server.py and pod/reconnect.py",
    )
    expect(
        livekit_server.is_connection_failure(gone.value),
        "AgentServer.run ends with other words where LiveKit is gone for good: the pod would end"
        f" as by a defect, not with its exit code and fix. {WHERE} LiveKit says: {gone.value}",
    )
    shown = [r.getMessage() for r in caplog.records if r.exc_info]
    expect(
        not shown,
        "LiveKit logs in other words that its connection task has failed, so a traceback stands"
        f" above the error with its fix. {WHERE} It logs: {shown}",
    )


async def test_one_process_more_is_kept_warm_by_livekits_own_count() -> None:
    server = configured()
    async with running(server, lambda: livekit_server.keep_spare_process(server)):
        with expected_to_work(f"The pool's target of idle processes is set elsewhere. {WHERE}"):
            pool = server._proc_pool
            # LiveKit's load task, which begins now, sets 0.
            await wait_until(
                lambda: pool.target_idle_processes == 1,
                because="LiveKit's load task sets the target by"
                " `_proc_pool.set_target_idle_processes`, which we replace: a pod that was full"
                f" has no warm process for its next caller. {WHERE}",
                timeout_seconds=5,
            )
            pool.set_target_idle_processes(3)
            assert pool.target_idle_processes == 3


def test_of_what_the_pool_says_only_jobs_are_told() -> None:
    """What a real pool says, `test_job_process.py` sees."""
    told: list[tuple[Any, ...]] = []
    pool = EventEmitter[Any]()
    livekit_server.watch_processes(
        SimpleNamespace(_proc_pool=pool),  # type: ignore[arg-type]
        lambda *launched: told.append(launched),
        lambda *closed: told.append(closed),
    )
    job = SimpleNamespace(job=SimpleNamespace(id="AJ_1"), received_at=12.5)
    for event in ("process_job_launched", "process_closed"):
        for running_job in (job, None):
            pool.emit(event, SimpleNamespace(running_job=running_job, pid=7))
    assert told == [("AJ_1", 12.5, job), ("AJ_1", 7)]


def test_a_job_has_the_moment_of_its_offer() -> None:
    expect(
        {"job", "received_at"} <= set(RunningJobInfo.__dataclass_fields__),
        "LiveKit's RunningJobInfo no longer has `job` or `received_at`: the time from an offer to"
        f" its call is not measured, and no launch is seen. {WHERE}",
    )


async def test_the_inference_process_is_known_to_live() -> None:
    async with running(configured()) as server:
        expect(
            "_inference_executor" in vars(server),
            "A running AgentServer no longer has `_inference_executor`: /livez stays well where"
            f" the process that runs turn detectors has died. {WHERE}",
        )
        assert livekit_server.inference_is_alive(server)
        for is_alive in (True, False):
            server._inference_executor = SimpleNamespace(  # type: ignore[assignment]
                is_alive=lambda is_alive=is_alive: is_alive
            )
            assert livekit_server.inference_is_alive(server) is is_alive
        server._inference_executor = None
    expect(
        callable(getattr(InferenceProcExecutor, "is_alive", None)),
        f"LiveKit's inference process no longer tells whether it lives: /livez fails. {WHERE}",
    )


def test_a_file_is_imported_as_by_livekits_own_command(tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir()
    for path in ("alone.py", "desk/__init__.py", "desk/agent.py"):
        (tmp_path / path).write_text("")
    with expected_to_work(
        "LiveKit's cli.discover finds a file's module in another way: no agent file given by its"
        f" path can be loaded. {WHERE}"
    ):
        found = [livekit_server.module_of(tmp_path / p) for p in ("alone.py", "desk/agent.py")]
    assert found == [(tmp_path.resolve(), "alone"), (tmp_path.resolve(), "desk.agent")]

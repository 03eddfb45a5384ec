"""LiveKit's `AgentServer`, the one that the agent file made, as our pod runs it: what the file
registered is read, our settings and entrypoint are put in, and a few of its private parts are used.

Everything here is of livekit-agents 1.8.9, worker.py, where no other file is named;
`tests/livekit_compat/test_server.py` says in words what a later one has changed.
"""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

import jwt
from livekit.agents import AgentServer, JobContext, JobExecutorType, JobProcess, JobRequest, utils
from livekit.agents import cli as livekit_cli
from livekit.agents.cli import discover
from livekit.agents.job import RunningJobInfo
from livekit.agents.worker import ServerOptions
from livekit.protocol import agent

logger = logging.getLogger(__name__)

# What an agent file may give its AgentServer and our settings replace: the option's name and the
# attribute that holds it. Load is ours because LiveKit's own is the machine's CPU.
REPLACED_OPTIONS = {
    "ws_url": "_ws_url",
    "api_key": "_api_key",
    "api_secret": "_api_secret",
    "host": "_host",
    "port": "_port",
    "load_fnc": "_load_fnc",
    "load_threshold": "_load_threshold",
    "max_retry": "_max_retry",
    "num_idle_processes": "_num_idle_processes",
    "initialize_process_timeout": "_initialize_process_timeout",
    "session_end_timeout": "_session_end_timeout",
    "drain_timeout": "_drain_timeout",
    "job_executor_type": "_job_executor_type",
    "job_memory_warn_mb": "_job_memory_warn_mb",
    "job_memory_limit_mb": "_job_memory_limit_mb",
    "multiprocessing_context": "_mp_ctx_str",
    "log_level": "_log_level",
}

# What LiveKit logs of a connection that it gives up, and the error that it ends with.
CONNECTION_TASK_ERROR = "Error in _connection_task"
CONNECTION_FAILED = "failed to connect to livekit"


# LiveKit's tokens, and how long one of ours lasts: a connection that is on needs none.
TOKEN_ALGORITHM = "HS256"  # noqa: S105 # no secret
TOKEN_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Registered:
    """What an agent file registered with its server."""

    agent_name: str
    entrypoint: Callable[[JobContext], Awaitable[None]] | None
    on_request: Callable[[JobRequest], Any] | None
    on_session_end: Callable[[JobContext], Any] | None
    on_simulation_end: Callable[[Any], Any] | None
    setup: Callable[[JobProcess], Any] | None


@dataclass(frozen=True, slots=True)
class Hooks:
    """What runs in place of what the file registered, and calls it. All but `on_request` and
    `load` run in job processes, so they are functions of modules.
    """

    entrypoint: Callable[[JobContext], Awaitable[None]]
    on_session_end: Callable[[JobContext], Awaitable[None]]
    on_simulation_end: Callable[[Any], Any] | None
    setup: Callable[[JobProcess], Any]
    on_request: Callable[[JobRequest], Awaitable[None]]
    load: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Options:
    """What our settings decide of the server. Memory in MiB, where 0 is no limit."""

    url: str | None
    api_key: str | None
    api_secret: str | None
    agent_name: str
    max_retry: int
    load_threshold: float
    idle_processes: int
    initialize_timeout_seconds: float
    drain_timeout_seconds: int
    session_end_timeout_seconds: float
    shutdown_timeout_seconds: float
    memory_warn_mb: float
    memory_limit_mb: float
    preload_modules: tuple[str, ...]
    log_level: str


# What the file had registered with each server that is configured.
_replaced = WeakKeyDictionary[AgentServer, Registered]()


def module_of(path: Path) -> tuple[Path, str]:
    """The folder that has to be on the path, and the name to import an agent file by, as LiveKit's
    own command imports it (cli/discover.py).
    """
    found = discover.get_module_data_from_path(path)
    return found.extra_sys_path, found.module_import_str


@contextmanager
def captured_run_app() -> Iterator[list[AgentServer]]:
    """Have `cli.run_app` add its server, or one made of its options, to this list, where it would
    run LiveKit's own worker.
    """
    given = list[AgentServer]()

    def run_app(server: AgentServer | ServerOptions) -> None:
        if isinstance(server, ServerOptions):
            server = AgentServer.from_server_options(server)
        given.append(server)

    modules = (livekit_cli, sys.modules["livekit.agents.cli.cli"])
    before = [module.run_app for module in modules]
    for module in modules:
        module.run_app = run_app  # type: ignore[attr-defined]
    try:
        yield given
    finally:
        for module, original in zip(modules, before, strict=True):
            module.run_app = original  # type: ignore[attr-defined]


def registered(server: AgentServer) -> Registered:
    """What the file registered, also when `configure` has put ours in its place: where jobs are
    threads, as in LiveKit's console, the file is read again in the process that hosts it.
    """
    if (before := _replaced.get(server)) is not None:
        return before
    return Registered(
        agent_name=server._agent_name,
        entrypoint=server._entrypoint_fnc,
        on_request=server._request_fnc,
        on_session_end=server._session_end_fnc,
        on_simulation_end=server._simulation_end_fnc,
        setup=server.setup_fnc,
    )


def replaced_options(server: AgentServer, shutdown_seconds: float | None = None) -> list[str]:
    """The options that the file has given its server and that our settings replace: its time for
    shutdown callbacks only by a setting of `shutdown_seconds`. An address or key that LiveKit's own
    variables hold as well is none of the file's.
    """
    plain = AgentServer()
    # The older options have other defaults for the same.
    older = AgentServer.from_server_options(ServerOptions(entrypoint_fnc=_no_entrypoint))
    replaced = [
        name
        for name, attribute in REPLACED_OPTIONS.items()
        if getattr(server, attribute) not in (getattr(plain, attribute), getattr(older, attribute))
    ]
    own_seconds = shutdown_timeout_seconds(server)
    if own_seconds is not None and shutdown_seconds not in (None, own_seconds):
        replaced.append("shutdown_process_timeout")
    return replaced


def shutdown_timeout_seconds(server: AgentServer) -> float | None:
    """How long the file gives its shutdown callbacks; None where it says nothing of it. Read before
    `configure` puts ours in its place.
    """
    seconds = server._shutdown_process_timeout
    return None if seconds == AgentServer()._shutdown_process_timeout else seconds


async def _no_entrypoint(_: JobContext) -> None: ...


def configure(server: AgentServer, options: Options, hooks: Hooks) -> None:
    """Give the file's server our options and hooks. What else the file has set stays: its
    listeners, its permissions, its proxy.
    """
    server.update_options(
        ws_url=options.url or "",
        api_key=options.api_key or "",
        api_secret=options.api_secret or "",
        max_retry=options.max_retry,
        job_executor_type=JobExecutorType.PROCESS,
        load_threshold=options.load_threshold,
        job_memory_warn_mb=options.memory_warn_mb,
        job_memory_limit_mb=options.memory_limit_mb,
        drain_timeout=options.drain_timeout_seconds,
        num_idle_processes=options.idle_processes,
        session_end_timeout=options.session_end_timeout_seconds,
        shutdown_process_timeout=options.shutdown_timeout_seconds,
        initialize_process_timeout=options.initialize_timeout_seconds,
    )
    _replaced.setdefault(server, registered(server))
    plain = AgentServer()
    # LiveKit's own health port, which says too little: it listens on a free port that nobody asks.
    server._host, server._port = "127.0.0.1", 0
    server._mp_ctx_str, server._mp_ctx = plain._mp_ctx_str, plain._mp_ctx
    server._log_level = options.log_level
    server._agent_name = options.agent_name
    server._preload_modules = [*dict.fromkeys([*server._preload_modules, *options.preload_modules])]
    server.setup_fnc, server.load_fnc = hooks.setup, hooks.load
    server._entrypoint_fnc = hooks.entrypoint
    server._request_fnc = hooks.on_request
    server._session_end_fnc = hooks.on_session_end
    server._simulation_end_fnc = hooks.on_simulation_end
    # LiveKit refuses by an estimate of its own, before any request function and uncounted; every
    # offer is for our admission to answer.
    server._is_available = lambda: True  # type: ignore[method-assign]


def wrap_http_session(server: AgentServer, wrap: Callable[[Any], Any]) -> None:
    """Have the server's next connections go through `wrap(session)`. Call it when the server has
    started and before it connects: in its event `worker_started`.
    """
    server._http_session = wrap(server._http_session)


def keep_spare_process(server: AgentServer, spare: int = 1) -> None:
    """Keep at least so many warm processes, also where every slot is taken: LiveKit alone keeps
    none then. Call it in the event `worker_started`.
    """
    pool = server._proc_pool
    set_target = pool.set_target_idle_processes

    def set_target_or_spare(num_idle_processes: int) -> None:
        set_target(max(num_idle_processes, spare))

    pool.set_target_idle_processes = set_target_or_spare  # type: ignore[method-assign]


async def launch_again(server: AgentServer, job: Any, job_id: str) -> None:
    """Give a job that `watch_processes` has told of to another warm process, under this id: with
    its room, identity, metadata and attributes, and a token of its own (as `_reload_jobs` does).

    :raises Exception: LiveKit's, if no process can be had.
    """
    info = cast(RunningJobInfo, job)
    secret = server._api_secret or ""
    # It came from LiveKit, or from here, and may have expired: a connection that is on needs none.
    claims = jwt.decode(info.token, options={"verify_signature": False})
    claims["exp"] = int(time.time() + TOKEN_SECONDS)
    again = agent.Job()
    again.CopyFrom(info.job)
    again.id = job_id
    await server._proc_pool.launch_job(
        RunningJobInfo(
            accept_arguments=info.accept_arguments,
            job=again,
            url=info.url,
            token=jwt.encode(claims, secret, algorithm=TOKEN_ALGORITHM),
            worker_id=info.worker_id,
            fake_job=info.fake_job,
        )
    )


async def kill_job(server: AgentServer, job_id: str) -> None:
    """Kill the process that has this job, if it is there (ipc/job_executor.py)."""
    process: Any = server._proc_pool.get_by_job_id(job_id)
    if process is not None:
        await process.kill()


def watch_processes(
    server: AgentServer,
    launched: Callable[[str, float, Any], None],
    closed: Callable[[str, int | None], None],
) -> None:
    """Tell the job id, the moment of its offer (unix seconds) and the job itself when a process is
    given a job, and the job id and pid when a process with a job has ended, as LiveKit sees it.
    Call it in the event `worker_started` (ipc/proc_pool.py, ipc/job_executor.py).
    """

    def tell_launched(process: Any) -> None:
        if (job := process.running_job) is not None:
            launched(job.job.id, job.received_at, job)

    def tell_closed(process: Any) -> None:
        if (job := process.running_job) is not None:
            closed(job.job.id, process.pid)

    server._proc_pool.on("process_job_launched", tell_launched)
    server._proc_pool.on("process_closed", tell_closed)


def let_drain_yield(server: AgentServer) -> None:
    """Have the join of each process give the loop a turn. LiveKit's `drain` joins one after the
    other and looks again at once; where two end in the same turn, the join of the second does not
    yield, the process is listed still, and the drain spins without end. Call it in the event
    `worker_started`.
    """

    def wrap(process: Any) -> None:
        join = process.join

        async def join_and_yield() -> None:
            await join()
            await asyncio.sleep(0)

        process.join = join_and_yield

    pool = server._proc_pool
    for process in pool.processes:
        wrap(process)
    pool.on("process_created", wrap)


def inference_is_alive(server: AgentServer) -> bool:
    """Whether the process that runs models for all jobs lives, or none is needed."""
    executor = getattr(server, "_inference_executor", None)
    return executor is None or executor.is_alive()


async def report_load_now(server: AgentServer) -> None:
    """Have LiveKit's worker look at its load and report it, as its own timers do every 2.5 s:
    meanwhile the next caller would be refused although there is room. Never raises: the
    caller listens to a call that goes on.
    """
    try:
        await server._refresh_worker_load()
        # The connection may be closing; then there is nobody to tell.
        with contextlib.suppress(utils.aio.ChanClosed):
            await server._update_worker_status()
    except Exception:
        logger.exception("free slot not reported")


def is_connection_failure(error: RuntimeError) -> bool:
    """Whether `AgentServer.run` has ended because LiveKit could not be reached again."""
    return CONNECTION_FAILED in str(error)


@contextmanager
def hidden_connection_error() -> Iterator[None]:
    """Leave out the traceback of a lost connection; the pod raises it as an error with its fix."""

    def is_other(record: logging.LogRecord) -> bool:
        return record.getMessage() != CONNECTION_TASK_ERROR

    livekit = logging.getLogger("livekit.agents")
    livekit.addFilter(is_other)
    try:
        yield
    finally:
        livekit.removeFilter(is_other)

"""LiveKit's process pool, whose job processes are tasks in the test's own process.

The pool itself is LiveKit's own: how many processes it keeps warm, which gets a job, what it does
with one that fails. Only what it takes for a process is made here: an executor with LiveKit's
interface (livekit-agents 1.8.9, ipc/job_executor.py), behind it a task that says over the pod's
real socket what a job process of ours says (`voicefleet.telemetry.messages`).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self

import pytest
from livekit.agents.ipc import job_proc_executor
from livekit.agents.ipc.job_executor import JobExecutor, JobStatus
from livekit.agents.job import RunningJobInfo

from tests.pod.livekit_stand_in import WITHIN_SECONDS, Changes
from voicefleet.telemetry import messages
from voicefleet.telemetry.messages import (
    CallEnded,
    CallEnding,
    CallStarted,
    Cause,
    EndCall,
    Fact,
    Order,
    PrewarmFailed,
    Proceed,
    Warm,
    Warming,
)

KILLED = -9
# Past the largest pid that Linux gives (PID_MAX_LIMIT, include/linux/threads.h): nobody's.
_made_up_pids = count(2**22 + 1)

livekit_logger = logging.getLogger("livekit.agents")


def socket_of(initialize_process_fnc: Callable[..., Any]) -> Path | None:
    """Where a job process finds its pod: an argument that the pod has bound to prewarm."""
    path = getattr(initialize_process_fnc, "keywords", {}).get("pod")
    return path if isinstance(path, Path) else None


class JobStandIn:
    """One job process: what LiveKit's pool does with it, and what a test has it do.

    A process obeys the pod's `EndCall` and LiveKit's order to close at once, unless `obeys` is
    false. Whatever it was ordered is in `orders`.
    """

    def __init__(
        self,
        pool: "PoolStandIn",
        path: Path | None,
        initialize_timeout: float,
        close_timeout: float,
    ) -> None:
        self._pool, self._path = pool, path
        self._initialize_timeout, self._close_timeout = initialize_timeout, close_timeout
        self._is_held, self._error = pool.is_prewarm_held, pool.prewarm_error
        self._loaded = asyncio.Event()
        self._told_to_exit = asyncio.Event()
        self._exitcode = KILLED
        self._initialized: asyncio.Future[None] = asyncio.Future()
        self._writer: asyncio.StreamWriter | None = None
        self._sleeper: asyncio.subprocess.Process | None = None
        self._life: asyncio.Task[None] | None = None
        self._running_job: RunningJobInfo | None = None
        self.pid: int | None = None
        self.exitcode: int | None = None
        self.killed = False
        self.user_arguments: Any | None = None
        self.obeys = True
        self.orders: list[Order] = []
        self.is_warm = False

    # What a test has it do.

    def becomes_warm(self) -> None:
        """A prewarm that is held goes well."""
        self._loaded.set()

    def fails_prewarm(self, error: str) -> None:
        """A prewarm that is held fails."""
        self._error = error
        self._loaded.set()

    def caller_left(self) -> None:
        """The caller hangs up; the process goes on with what is left to do."""
        self.tell(CallEnding())

    def ended(self, cause: Cause = Cause.CALLER_LEFT, seconds: float = 1.0) -> None:
        """The call is over, the process tells it and leaves."""
        self.tell(CallEnded(cause=cause, seconds=seconds))
        self._exit(0)

    def dies(self, exitcode: int = KILLED) -> None:
        """The process is gone without a word."""
        self._exit(exitcode)

    def is_killed(self, words: str) -> None:
        """LiveKit kills it, and logs these words (`livekit_compat.kill_reasons`)."""
        livekit_logger.error(words, extra=self.logging_extra())
        self.killed = True
        self._exit(KILLED)

    def tell(self, fact: Fact) -> None:
        """Any fact."""
        self.say(messages.line(fact))

    def say(self, sent: bytes) -> None:
        """Any bytes at all; nobody hears them without a line to the pod."""
        if self._writer is not None and self.is_alive:
            self._writer.write(sent)

    @property
    def job_id(self) -> str | None:
        return self._running_job.job.id if self._running_job else None

    @property
    def is_alive(self) -> bool:
        return self._life is not None and self.exitcode is None

    def was_ordered_to_end(self) -> bool:
        return any(isinstance(order, EndCall) for order in self.orders)

    # What LiveKit's pool does with it: ipc/job_executor.py and ipc/supervised_proc.py.

    @property
    def id(self) -> str:
        return f"PCEXEC_{self.pid}"

    @property
    def started(self) -> bool:
        return self._life is not None

    @property
    def running_job(self) -> RunningJobInfo | None:
        return self._running_job

    @property
    def status(self) -> JobStatus:
        if self._running_job is None:
            raise RuntimeError("job status not available")
        if self.exitcode is None:
            return JobStatus.RUNNING
        return JobStatus.SUCCESS if self.exitcode == 0 else JobStatus.FAILED

    def logging_extra(self) -> dict[str, Any]:
        job = {} if self._running_job is None else {"job_id": self._running_job.job.id}
        return {"pid": self.pid, **job}

    async def start(self) -> None:
        if self._pool.has_real_pids:
            self._sleeper = await asyncio.create_subprocess_exec("sleep", "600")
            self.pid = self._sleeper.pid
        else:
            self.pid = next(_made_up_pids)
        self._life = asyncio.create_task(self._live(), name=f"job process {self.pid}")
        self._pool.changes.tell()

    async def initialize(self) -> None:
        try:
            await asyncio.wait_for(asyncio.shield(self._initialized), self._initialize_timeout)
        except TimeoutError:
            await self.kill()
            raise

    async def launch_job(self, info: RunningJobInfo) -> None:
        if self._running_job is not None:
            raise RuntimeError("process already has a running job")
        if not self.is_alive:
            raise RuntimeError("process is gone")
        self._running_job = info
        self.tell(CallStarted(job_id=info.job.id))
        self._pool.changes.tell()

    async def join(self) -> None:
        if self._life is None:
            raise RuntimeError("process not started")
        await asyncio.shield(self._life)

    async def aclose(self) -> None:
        if self._life is None:
            return
        if not self.is_warm:
            await self.kill()
            return
        if self.obeys:
            # A job that LiveKit closes tells that its room went, as `voicefleet.job.ending` does.
            if self._running_job is not None and not self._told_to_exit.is_set():
                self.tell(CallEnded(cause=Cause.ROOM_CLOSED, seconds=1.0))
            self._exit(0)
        try:
            await asyncio.wait_for(asyncio.shield(self._life), self._close_timeout)
        except TimeoutError:
            self.is_killed("process did not ack shutdown in time, killing process")
            await asyncio.shield(self._life)

    async def kill(self) -> None:
        if self._life is None:
            raise RuntimeError("process not started")
        self.killed = True
        self._exit(KILLED)
        await asyncio.shield(self._life)

    def _exit(self, code: int) -> None:
        if not self._told_to_exit.is_set():
            self._exitcode = code
            self._told_to_exit.set()

    async def _live(self) -> None:
        """From the first line to the end of the process, which closes its line."""
        ends: set[asyncio.Task[Any]] = {
            asyncio.create_task(self._work(), name=f"work of {self.pid}"),
            asyncio.create_task(self._told_to_exit.wait(), name=f"end of {self.pid}"),
        }
        if self._sleeper is not None:
            ends.add(asyncio.create_task(self._sleeper.wait(), name=f"death of {self.pid}"))
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
            failures = await asyncio.gather(*ends, return_exceptions=True)
            await self._leave()
        for failure in failures:
            if isinstance(failure, Exception):
                raise failure

    async def _leave(self) -> None:
        if self._sleeper is not None and self._sleeper.returncode is None:
            self._sleeper.kill()
            await self._sleeper.wait()
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        self.exitcode = self._exitcode
        if not self._initialized.done():
            self._initialized.set_exception(RuntimeError("process ended while it loaded"))
            self._initialized.exception()  # looked at, should nobody wait for it any more
        self._pool.changes.tell()

    async def _work(self) -> None:
        """What a process does by itself, until it is told to exit."""
        reader = await self._connect()
        if self._is_held:
            await self._loaded.wait()
        if self._error is not None:
            self.tell(PrewarmFailed(error=self._error))
            failure = RuntimeError(f"process initialization failed: {self._error}")
            self._initialized.set_exception(failure)
            self._initialized.exception()
            self._exit(1)
            return
        self.tell(Warm())
        self.is_warm = True
        self._initialized.set_result(None)
        self._pool.changes.tell()
        while reader is not None and (line := await reader.readline()):
            order = messages.ORDER.validate_json(line)
            self.orders.append(order)
            if isinstance(order, EndCall) and self.obeys:
                self.ended(order.cause)
            self._pool.changes.tell()
        await self._told_to_exit.wait()

    async def _connect(self) -> asyncio.StreamReader | None:
        """Be let in by the pod; None where there is no pod, as under a plain AgentServer."""
        if self._path is None:
            return None
        try:
            reader, self._writer = await asyncio.open_unix_connection(self._path)
        except OSError:  # a pod that has left
            return None
        self.tell(Warming(pid=self.pid or 0))
        order = messages.ORDER.validate_json(await reader.readline())
        assert isinstance(order, Proceed), f"expected to be let in, and got {order}"
        await asyncio.sleep(min(order.after_seconds, self._pool.longest_pause_seconds))
        return reader


class PoolStandIn:
    """Every job process of one pod. What is set here holds for processes that begin afterwards."""

    def __init__(self) -> None:
        self.jobs: list[JobStandIn] = []
        """Every process there was, the latest last."""
        self.prewarm_error: str | None = None
        """What a process fails with when it loads its models."""
        self.is_prewarm_held = False
        """A process loads until the test tells it how that goes."""
        self.has_real_pids = False
        """A process has the pid of a real one, which only sleeps."""
        self.longest_pause_seconds = 0.1
        """Of the pause that the pod orders, what is really waited."""
        self.changes = Changes()

    @classmethod
    @asynccontextmanager
    async def installed(cls) -> AsyncIterator[Self]:
        """In place of processes, for every worker that starts while the context lasts."""
        pool = cls()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(job_proc_executor, "ProcJobExecutor", pool._executor)
            try:
                yield pool
            finally:
                await asyncio.gather(*(job.kill() for job in pool.alive))

    @property
    def alive(self) -> list[JobStandIn]:
        return [job for job in self.jobs if job.is_alive]

    @property
    def warm(self) -> list[JobStandIn]:
        """Those that wait for a call."""
        return [job for job in self.alive if job.is_warm and job.running_job is None]

    async def until(
        self, is_so: Callable[[], bool], *, because: str, within_seconds: float = WITHIN_SECONDS
    ) -> None:
        """Wait for what a process has done, or was told."""
        await self.changes.until(is_so, because=because, within_seconds=within_seconds)

    async def job_of(self, job_id: str) -> JobStandIn:
        """The process that has this job, as soon as it has it."""

        def found() -> list[JobStandIn]:
            return [job for job in self.jobs if job.job_id == job_id]

        await self.until(lambda: bool(found()), because=f"a process is given {job_id}")
        return found()[-1]

    async def release(self) -> None:
        """Every process may load, now and from now on, and one caller after the other hangs up."""
        self.prewarm_error, self.is_prewarm_held = None, False
        for job in self.alive:
            job.becomes_warm()
            if job.running_job is not None:
                job.ended()
                await job.join()

    def _executor(self, **options: Any) -> JobExecutor:
        path = socket_of(options["initialize_process_fnc"])
        job = JobStandIn(self, path, options["initialize_timeout"], options["close_timeout"])
        self.jobs.append(job)
        return job

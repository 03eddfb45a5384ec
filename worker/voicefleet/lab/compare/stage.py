"""Puts a subject's worker on a stage: a livekit-server, the stand-ins, the same agent file."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from voicefleet.lab import cost, livekit_server, processes, stack
from voicefleet.lab.compare.outcome import NotHeld, Subject
from voicefleet.lab.livekit_server import LiveKitServer
from voicefleet.lab.processes import Running

# The lab and an idle worker themselves stay well below.
QUIET_RATIO = 0.2
LOOK_SECONDS = 1.0
WAIT_AT_MOST_SECONDS = 20.0


async def wait() -> float:
    """How busy the cores are, 0 to 1, when they are quiet or have not become so in time."""
    deadline = time.monotonic() + WAIT_AT_MOST_SECONDS
    while True:
        busy = await asyncio.to_thread(psutil.cpu_percent, LOOK_SECONDS) / 100
        if busy <= QUIET_RATIO or time.monotonic() > deadline:
            return busy


MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Weight:
    """Memory in MiB. PSS shares what processes have in common among them, so it can be added up.
    `jobs` has a value for each job process, warm or in a call; `calls` those in a call; `own` is
    what each job process shares with no other (USS).
    """

    total: float
    jobs: tuple[float, ...]
    calls: tuple[float, ...]
    own: tuple[float, ...]


def weigh(stage: "Stage") -> Weight:
    """:raises NotHeld: where the kernel does not tell a process's PSS."""
    parent = psutil.Process(stage.worker.pid)
    in_calls = cost.call_processes(parent.pid, stage.livekit.url)
    total, jobs, calls, own = 0.0, list[float](), list[float](), list[float]()
    for process in (parent, *parent.children(recursive=True)):
        with _that_may_end():
            held, unshared = _pss_and_uss_mib(process)
            total += held
            # LiveKit forks the jobs from a forkserver, which is the worker's child.
            if process != parent and process.ppid() != parent.pid:
                jobs.append(held)
                own.append(unshared)
                if process in in_calls:
                    calls.append(held)
    return Weight(total, tuple(jobs), tuple(calls), tuple(own))


def cpu_seconds(stage: "Stage") -> float:
    """CPU seconds of the whole tree since its start. What has ended is in its parent's figures."""
    parent, used = psutil.Process(stage.worker.pid), 0.0
    for process in (parent, *parent.children(recursive=True)):
        with _that_may_end():
            times = process.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
    return used


def _pss_and_uss_mib(process: psutil.Process) -> tuple[float, float]:
    held = process.memory_full_info()
    pss = getattr(held, "pss", None)
    if pss is None:
        raise NotHeld("this system does not tell the PSS of a process (Linux does)")
    return float(pss) / MIB, float(held.uss) / MIB


@contextmanager
def _that_may_end() -> Iterator[None]:
    """A process that ends while it is looked at weighs nothing."""
    try:
        yield
    except psutil.NoSuchProcess:
        return


AGENT_FILE = Path(__file__).with_name("agent.py")
AGENT_NAME = "compare"

SLOTS = 2

# A stock worker's load is the machine's CPU of the last 2.5 s, and its own start fills that.
SETTLES_WITHIN_SECONDS = 4.0


@dataclass(slots=True)
class World:
    """What all drills of a run share. `memory_limit_bytes` is what a call of ours may hold where
    memory is at stake; `start_seconds` grows with every start of a worker, and `busy_ratios` with
    every drill: how busy the machine was with other things before it.
    """

    binary: Path
    folder: Path
    providers_url: str
    memory_limit_bytes: int
    start_seconds: dict[Subject, list[float]] = field(
        default_factory=lambda: {subject: [] for subject in Subject}
    )
    busy_ratios: list[float] = field(default_factory=list)
    _shared: "dict[Subject, tuple[Stage, AsyncExitStack]]" = field(default_factory=dict)

    async def shared(self, subject: Subject) -> "Stage":
        """The stage of harmless drills, with this subject alone; up until another is asked for."""
        if set(self._shared) != {subject}:
            await self.clear()
        return await self.beside(subject)

    async def beside(self, subject: Subject) -> "Stage":
        """As `shared`, and the other subject may be on its own stage at the same time."""
        if subject not in self._shared:
            async with AsyncExitStack() as opening:
                up = await opening.enter_async_context(_stage(self, subject, {}))
                self._shared[subject] = (up, opening.pop_all())
        return self._shared[subject][0]

    @asynccontextmanager
    async def stage(self, subject: Subject, **extra: str) -> AsyncIterator["Stage"]:
        """A stage of its own, with `extra` settings in the worker's environment."""
        await self.clear()
        async with _stage(self, subject, extra) as up:
            yield up

    async def clear(self) -> None:
        """Take the shared stages down."""
        while self._shared:
            _, (_, closing) = self._shared.popitem()
            await closing.aclose()

    def new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))


@dataclass(frozen=True, slots=True)
class Address:
    """Where a worker finds LiveKit, or does not."""

    url: str
    api_key: str
    api_secret: str


@dataclass(slots=True)
class Stage:
    """A registered worker and its LiveKit, which a drill may replace by another."""

    subject: Subject
    livekit: LiveKitServer
    worker: Running


@asynccontextmanager
async def world(binary: Path, memory_limit_bytes: int) -> AsyncIterator[World]:
    """The stand-ins, and a folder for logs, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="compare-") as name:
        folder = Path(name)
        script = str(Path(__file__).with_name("conversation.toml"))
        providers, url = await stack.start_providers(folder, script)
        made = World(binary, folder, url, memory_limit_bytes)
        try:
            yield made
        finally:
            await made.clear()
            await processes.kill(providers)


@asynccontextmanager
async def _stage(world: World, subject: Subject, extra: dict[str, str]) -> AsyncIterator[Stage]:
    folder = world.new_folder()
    async with AsyncExitStack() as parts:
        livekit = await livekit_server.start(world.binary, folder)
        up = Stage(subject, livekit, livekit.process)
        parts.push_async_callback(lambda: processes.kill(up.livekit.process))
        began = time.monotonic()
        address = Address(livekit.url, livekit.api_key, livekit.api_secret)
        up.worker = start_worker(world, subject, address, folder, extra)
        parts.push_async_callback(processes.kill, up.worker)
        await processes.wait_for_line(
            up.worker,
            lambda line: '"registered worker"' in line,
            within_seconds=stack.READY_WITHIN_SECONDS,
        )
        world.start_seconds[subject].append(time.monotonic() - began)
        await asyncio.sleep(SETTLES_WITHIN_SECONDS)
        yield up


def start_worker(
    world: World,
    subject: Subject,
    livekit: Address,
    folder: Path,
    extra: dict[str, str],
) -> Running:
    """Start the subject's worker as an operator would, without waiting for it."""
    environment = stack.clean_environment() | {
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": livekit.api_key,
        "LIVEKIT_API_SECRET": livekit.api_secret,
        "OPENAI_BASE_URL": f"{world.providers_url}/openai/v1",
        "OPENAI_API_KEY": stack.KEY,
        # What a worker that is killed leaves there goes with the folder.
        "TMPDIR": str(folder),
    }
    command = processes.python("livekit.agents", "start", str(AGENT_FILE))
    if subject is Subject.OURS:
        command = processes.python("voicefleet", "start")
        environment |= {
            "VOICEFLEET_AGENT": str(AGENT_FILE),
            "VOICEFLEET_SLOTS": str(SLOTS),
            "VOICEFLEET_HTTP_PORT": "0",
        } | extra
    return processes.start("worker", command, environment=environment, folder=folder)


async def exit_code(worker: Running, *, within_seconds: float) -> int | None:
    """How it ended, or None if it still runs; negative is a signal's number."""
    try:
        process = psutil.Process(worker.pid)
        return await asyncio.to_thread(process.wait, within_seconds)
    except psutil.TimeoutExpired:
        return None

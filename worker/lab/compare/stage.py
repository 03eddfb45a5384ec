"""Puts a subject's worker on a stage: a livekit-server, the stand-ins, the same agent file."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from worker.lab import livekit_server, processes, stack
from worker.lab.compare.outcome import Subject
from worker.lab.livekit_server import LiveKitServer
from worker.lab.processes import Running

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
        command = processes.python("worker", "start")
        environment |= {
            "WORKER_AGENT": str(AGENT_FILE),
            "WORKER_SLOTS": str(SLOTS),
            "WORKER_HTTP_PORT": "0",
        } | extra
    return processes.start("worker", command, environment=environment, folder=folder)


async def exit_code(worker: Running, *, within_seconds: float) -> int | None:
    """How it ended, or None if it still runs; negative is a signal's number."""
    try:
        process = psutil.Process(worker.pid)
        return await asyncio.to_thread(process.wait, within_seconds)
    except psutil.TimeoutExpired:
        return None

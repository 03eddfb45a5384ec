"""A program written in Go: found on this machine, or built once by Go and kept in a cache."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from voicefleet import errors

LOOK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class GoProgram:
    """`package` is what `go install` takes, whose last part is the name that Go gives the binary;
    `named_by` is the environment variable that names one; `build_time` is in words.
    """

    name: str
    version: str
    package: str
    named_by: str
    build_time: str
    fix: str

    @property
    def module(self) -> str:
        return f"{self.package}@v{self.version}"

    @property
    def built(self) -> str:
        """Its name in the cache."""
        return f"{self.name}-{self.version}"


def default_cache() -> Path:
    """Where what is built is kept between runs."""
    return Path.home() / ".cache" / "voicefleet"


def find(
    program: GoProgram, *, binary: Path | None, cache: Path, search_path: str | None = None
) -> Path | None:
    """One that is already here: the one named, on PATH, or built before. `search_path` stands in
    for PATH. One that is named or on PATH is taken as it is, whatever its version.

    :raises ToolError: if `binary` is named but is not a program.
    """
    if binary is not None:
        if not is_program(binary):
            problem = f"{program.named_by}={binary} is not a program"
            raise errors.ToolError(problem, fix=program.fix)
        return binary.absolute()
    if on_path := shutil.which(program.name, path=search_path):
        return Path(on_path).absolute()
    return built if is_program(built := cache / program.built) else None


async def build(
    program: GoProgram,
    go: str,
    cache: Path,
    progress: Callable[[str], None],
    *,
    progress_every_seconds: float = 5.0,
) -> Path:
    """Build in a folder of our own in `cache`, then rename: one that is cut short leaves nothing.
    Whoever else builds into it at this moment is waited for.

    :raises ToolError: if Go does not build it.
    """
    async with _alone(cache, progress):
        if not is_program(cache / program.built):
            await _install(program, go, cache, progress, progress_every_seconds)
    return cache / program.built


async def _install(
    program: GoProgram,
    go: str,
    cache: Path,
    progress: Callable[[str], None],
    progress_every_seconds: float,
) -> None:
    progress(f"building {program.name} {program.version} once with {go}: {program.build_time}")
    build, started_at = _Build(), time.monotonic()
    with tempfile.TemporaryDirectory(dir=cache, prefix="build-") as folder:
        process = await asyncio.create_subprocess_exec(
            *("env", f"GOBIN={folder}", go, "install", "-v", program.module),
            cwd=folder,
            stderr=PIPE,
            start_new_session=True,
        )
        async with _ended_with_us(process), asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(_listen(process, build), name="go-install-output")
            while not (await asyncio.wait({listening}, timeout=progress_every_seconds))[0]:
                elapsed_seconds = round(time.monotonic() - started_at)
                progress(f"building {program.name}: {elapsed_seconds} s, {build.describe()}")
        made = Path(folder) / program.package.rpartition("/")[2]
        if process.returncode != 0 or not is_program(made):
            said = " / ".join(build.last_lines)
            problem = f"go install {program.module} failed: {said}"
            raise errors.ToolError(problem, fix=program.fix)
        made.replace(cache / program.built)
    took_seconds = round(time.monotonic() - started_at)
    progress(f"{program.name} {program.version} built in {took_seconds} s")


@contextlib.asynccontextmanager
async def _alone(cache: Path, progress: Callable[[str], None]) -> AsyncIterator[None]:
    """The right to build into this cache; the system takes it back from whoever ends."""
    folder = os.open(cache, os.O_RDONLY)
    try:
        is_told = False
        while True:
            if _is_locked(folder):
                break
            if not is_told:
                progress(f"somebody else builds into {cache}: waiting")
            is_told = True
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        yield
    finally:
        os.close(folder)


def _is_locked(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


@dataclass(slots=True)
class _Build:
    """What `go install -v` has said so far."""

    modules_fetched: int = 0
    packages_compiled: int = 0
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=5))

    def hear(self, line: str) -> None:
        self.last_lines.append(line)
        if line.startswith("go: downloading"):
            self.modules_fetched += 1
        elif not line.startswith("go: "):
            self.packages_compiled += 1

    def describe(self) -> str:
        done = f"{self.modules_fetched} modules fetched, {self.packages_compiled} packages compiled"
        return f"{done}, now {self.last_lines[-1]}" if self.last_lines else done


async def _listen(process: Process, build: _Build) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        build.hear(line.decode(errors="replace").strip())
    await process.wait()


@contextlib.asynccontextmanager
async def _ended_with_us(process: Process) -> AsyncIterator[None]:
    """Go starts compilers of its own: they all end when we are cancelled."""
    try:
        yield
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

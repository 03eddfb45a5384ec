"""Finds livekit-server on this machine, or makes it: the real one, of the release we test against.

In this order: the one that the settings name, one on PATH, the one this project built before, a
build by Go, a container engine.
"""

import asyncio
import contextlib
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

from worker import errors

VERSION = "1.13.5"
MODULE = f"github.com/livekit/livekit-server/cmd/server@v{VERSION}"
IMAGE = f"docker.io/livekit/livekit-server:v{VERSION}"
BUILT = f"livekit-server-{VERSION}"
ENGINES = ("docker", "podman")
ENGINE_ANSWERS_WITHIN_SECONDS = 10.0

# Called as livekit-server itself is: `--config FILE`. Host networking keeps the ports of the
# configuration, and the engine hands signals on to the server.
CONTAINER_SCRIPT = """#!/bin/sh
exec {engine} run --rm --network host --volume "$2:$2:ro" {image} "$@"
"""

FIX = (
    f"name a livekit-server {VERSION} in LIVEKIT_SERVER_BIN, put one on PATH, or install Go"
    " (https://go.dev/dl, it is then built once) or Docker or Podman (its image is then used)"
)


def default_cache() -> Path:
    """Where a built livekit-server is kept between runs, unless the settings say otherwise."""
    return Path.home() / ".cache" / "voicefleet"


def find(*, binary: Path | None, cache: Path, search_path: str | None = None) -> Path | None:
    """A livekit-server that is already here. `search_path` stands in for PATH.

    One that is named or on PATH is taken as it is, whatever its version.

    :raises ToolError: if `binary` is named but is not a program.
    """
    if binary is not None:
        if not _is_program(binary):
            raise errors.ToolError(f"LIVEKIT_SERVER_BIN={binary} is not a program", fix=FIX)
        return binary.absolute()
    if on_path := shutil.which("livekit-server", path=search_path):
        return Path(on_path).absolute()
    return built if _is_program(built := cache / BUILT) else None


async def obtain(
    *,
    binary: Path | None = None,
    cache: Path | None = None,
    search_path: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
    progress_every_seconds: float = 5.0,
) -> Path:
    """A livekit-server, made if there is none; making it takes Go about four minutes.

    :raises ToolError: if there is none and none of the ways to make one works.
    """
    cache = cache or default_cache()
    if found := find(binary=binary, cache=cache, search_path=search_path):
        return found
    cache.mkdir(parents=True, exist_ok=True)

    failures = []
    if go := shutil.which("go", path=search_path):
        try:
            return await _build(go, cache, progress, progress_every_seconds)
        except errors.ToolError as error:
            progress(error.problem)
            failures.append(error.problem)
    for engine in filter(None, (shutil.which(name, path=search_path) for name in ENGINES)):
        if await _answers(engine):
            return _container_script(engine, cache)
        failures.append(f"{engine} does not answer")
    reasons = "; ".join(failures) or "neither Go nor a container engine is on PATH"
    raise errors.ToolError(f"there is no livekit-server and none can be made: {reasons}", fix=FIX)


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


async def _build(
    go: str, cache: Path, progress: Callable[[str], None], progress_every_seconds: float
) -> Path:
    """Build in a folder of our own, then rename: a build that is cut short leaves nothing."""
    progress(f"building livekit-server {VERSION} once with {go}: about four minutes")
    build, started_at = _Build(), time.monotonic()
    with tempfile.TemporaryDirectory(dir=cache, prefix="build-") as folder:
        process = await asyncio.create_subprocess_exec(
            *("env", f"GOBIN={folder}", go, "install", "-v", MODULE),
            cwd=folder,
            stderr=PIPE,
            start_new_session=True,
        )
        async with _ended_with_us(process), asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(_listen(process, build), name="go-install-output")
            while not (await asyncio.wait({listening}, timeout=progress_every_seconds))[0]:
                elapsed_seconds = round(time.monotonic() - started_at)
                progress(f"building livekit-server: {elapsed_seconds} s, {build.describe()}")
        made = Path(folder) / "server"
        if process.returncode != 0 or not _is_program(made):
            said = " / ".join(build.last_lines)
            raise errors.ToolError(f"go install {MODULE} failed: {said}", fix=FIX)
        made.replace(cache / BUILT)
    progress(f"livekit-server {VERSION} built in {round(time.monotonic() - started_at)} s")
    return cache / BUILT


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


async def _answers(engine: str) -> bool:
    """Whether the engine's daemon is there, not only its command."""
    null = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(engine, "info", stdout=null, stderr=null)
    try:
        async with asyncio.timeout(ENGINE_ANSWERS_WITHIN_SECONDS):
            return await process.wait() == 0
    except TimeoutError:
        process.kill()
        await process.wait()
        return False


def _container_script(engine: str, cache: Path) -> Path:
    script = cache / f"{BUILT}-{Path(engine).name}"
    script.write_text(CONTAINER_SCRIPT.format(engine=engine, image=IMAGE), encoding="utf-8")
    script.chmod(0o755)
    return script


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)

"""Finds livekit-server on this machine, or makes it: the real one, of the release we test against.

In this order: the one that the settings name, one on PATH, the one this project built before, a
build by Go, a container engine.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from worker import errors
from worker.lab import go_program
from worker.lab.go_program import GoProgram

VERSION = "1.13.5"
IMAGE = f"docker.io/livekit/livekit-server:v{VERSION}"
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

PROGRAM = GoProgram(
    name="livekit-server",
    version=VERSION,
    package="github.com/livekit/livekit-server/cmd/server",
    named_by="LIVEKIT_SERVER_BIN",
    build_time="about four minutes",
    fix=FIX,
)
BUILT = PROGRAM.built


def default_cache() -> Path:
    """Where a built livekit-server is kept between runs, unless the settings say otherwise."""
    return go_program.default_cache()


def find(*, binary: Path | None, cache: Path, search_path: str | None = None) -> Path | None:
    """A livekit-server that is already here. `search_path` stands in for PATH.

    :raises ToolError: if `binary` is named but is not a program.
    """
    return go_program.find(PROGRAM, binary=binary, cache=cache, search_path=search_path)


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
            return await go_program.build(
                PROGRAM, go, cache, progress, progress_every_seconds=progress_every_seconds
            )
        except errors.ToolError as error:
            progress(error.problem)
            failures.append(error.problem)
    for engine in filter(None, (shutil.which(name, path=search_path) for name in ENGINES)):
        if await _answers(engine):
            return _container_script(engine, cache)
        failures.append(f"{engine} does not answer")
    reasons = "; ".join(failures) or "neither Go nor a container engine is on PATH"
    raise errors.ToolError(f"there is no livekit-server and none can be made: {reasons}", fix=FIX)


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

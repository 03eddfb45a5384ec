"""Runs a real livekit-server on this machine, on one address alone: loopback by default."""

import asyncio
import contextlib
import json
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from voicefleet import errors
from voicefleet import settings as settings_module
from voicefleet.lab import go_program, processes
from voicefleet.lab.go_program import GoProgram
from voicefleet.lab.processes import Running

VERSION = "1.13.5"
IMAGE = f"docker.io/livekit/livekit-server:v{VERSION}"
ENGINES = ("docker", "podman")
ENGINE_ANSWERS_WITHIN_SECONDS = 10.0
VERSION_NUMBER = re.compile(r"\d+\.\d+\.\d+\S*")

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


async def version_of(binary: Path) -> str:
    """Which release this is, as it says itself; "unknown" where it says nothing."""
    process = await asyncio.create_subprocess_exec(
        binary,
        "--version",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(ENGINE_ANSWERS_WITHIN_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return "unknown"
    found = VERSION_NUMBER.search(said.decode(errors="replace"))
    return found.group() if found else "unknown"


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


HOST = "127.0.0.1"
API_KEY = "voicefleet-lab"
CONFIGURATION_FILE = "livekit-server.json"
READY_WITHIN_SECONDS = 20.0
LOOK_EVERY_SECONDS = 0.05

# In the environment these win over the configuration file (cmd/server/main.go).
FOREIGN_SETTINGS = {"LIVEKIT_CONFIG", "LIVEKIT_KEYS", "NODE_IP", "UDP_PORT"}


@dataclass(frozen=True, slots=True)
class LiveKitServer:
    """A running livekit-server; `process` is the container's client where one is used."""

    url: str
    api_key: str
    api_secret: str
    process: Running


@contextlib.asynccontextmanager
async def run(binary: Path) -> AsyncIterator[LiveKitServer]:
    """livekit-server for as long as the block lasts.

    :raises ToolError: if it does not start; with the last lines of its log.
    """
    with tempfile.TemporaryDirectory(prefix="livekit-server-") as folder:
        server = await start(binary, Path(folder))
        try:
            yield server
        finally:
            await processes.stop(server.process)


async def start(binary: Path, folder: Path, host: str = HOST) -> LiveKitServer:
    """livekit-server that goes on after this process has ended; end it with `processes.stop`.

    `folder` keeps its configuration and its log. `host` is an address of this machine.

    :raises ToolError: if it does not start; with the last lines of its log.
    """
    config = _write_configuration(folder, host)
    running = await _start(binary, config.path, config.url)
    return LiveKitServer(config.url, API_KEY, config.api_secret, running)


async def start_again(binary: Path, ended: LiveKitServer) -> LiveKitServer:
    """A server that has ended, anew: the same ports and the same key.

    :raises ToolError: if it does not start; with the last lines of its log.
    """
    await processes.stop(ended.process)
    configuration_file = ended.process.log.parent / CONFIGURATION_FILE
    return replace(ended, process=await _start(binary, configuration_file, ended.url))


async def _start(binary: Path, configuration_file: Path, url: str) -> Running:
    inherited = settings_module.environment().items()
    running = processes.start(
        "livekit-server",
        (str(binary), "--config", str(configuration_file)),
        environment={k: v for k, v in inherited if k not in FOREIGN_SETTINGS},
        folder=configuration_file.parent,
    )
    try:
        await _until_it_answers(url, running)
    except BaseException:
        await processes.stop(running)
        raise
    return running


@dataclass(frozen=True, slots=True)
class _Configuration:
    path: Path
    url: str
    api_secret: str


def _write_configuration(folder: Path, host: str) -> _Configuration:
    """Free ports and a secret of our own: several servers can run on one machine."""
    signal_port = _free_port(host, socket.SOCK_STREAM)
    udp_port = _free_port(host, socket.SOCK_DGRAM)
    api_secret = secrets.token_urlsafe(36)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONFIGURATION_FILE
    path.touch(mode=0o600)  # not a command line, which everybody on this machine can see
    document = configuration(signal_port, udp_port, api_secret, host)
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")
    return _Configuration(path, f"ws://{host}:{signal_port}", api_secret)


def configuration(
    signal_port: int, udp_port: int, api_secret: str, host: str = HOST
) -> dict[str, Any]:
    """livekit-server's configuration (JSON is YAML): everything on one address only."""
    return {
        "port": signal_port,
        "bind_addresses": [host],
        "rtc": {
            "udp_port": udp_port,
            # Media over TCP would listen on every address: livekit-server gives no choice
            # (mediatransportutil, rtcconfig/webrtc_config.go). One machine does not need it.
            "tcp_port": 0,
            "use_external_ip": False,
            "node_ip": host,
            "enable_loopback_candidate": host == HOST,
            "ips": {"includes": [f"{host}/32"]},
        },
        "keys": {API_KEY: api_secret},
        "logging": {"level": "info", "json": True},
    }


def _free_port(host: str, kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


async def _until_it_answers(url: str, running: Running) -> None:
    """Ask until it answers or has died: a server that is starting has no event to wait for."""
    address = url.replace("ws://", "http://")
    deadline = asyncio.get_running_loop().time() + READY_WITHIN_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as session:
        while asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(address) as response:
                    if response.status == 200:
                        return
            if not processes.is_alive(running):
                raise processes.failed(running, "ended while it started")
            await asyncio.sleep(LOOK_EVERY_SECONDS)
    raise processes.failed(running, f"did not answer within {READY_WITHIN_SECONDS:g} s")

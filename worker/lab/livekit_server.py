"""Runs a real livekit-server on this machine, reachable from this machine only."""

import asyncio
import contextlib
import json
import secrets
import socket
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import aiohttp
import psutil

from worker import errors

HOST = "127.0.0.1"
API_KEY = "voicefleet-lab"
READY_WITHIN_SECONDS = 20.0
# livekit-server ignores a first SIGTERM in its first 100 ms, and waits at one for every participant
# to leave; the second one ends it at once (cmd/server/main.go and pkg/service/server.go, Stop).
STOP_SIGNALS_AND_SECONDS = ((SIGTERM, 1.0), (SIGTERM, 5.0), (SIGKILL, 5.0))
LOG_LINES_SHOWN = 8

# In the environment these win over the configuration file (cmd/server/main.go).
FOREIGN_SETTINGS = ("LIVEKIT_CONFIG", "LIVEKIT_KEYS", "NODE_IP", "UDP_PORT")
WITHOUT_FOREIGN_SETTINGS = ("env", *(part for name in FOREIGN_SETTINGS for part in ("-u", name)))

# Starts a program that outlives the shell, in the session of the shell, and prints its id.
DETACH = 'log=$1; shift; "$@" >>"$log" 2>&1 </dev/null & echo $!'


@dataclass(frozen=True, slots=True)
class LiveKitServer:
    """A running livekit-server. `pid` is that of the container's client where one is used."""

    url: str
    api_key: str
    api_secret: str
    pid: int
    log: Path


@contextlib.asynccontextmanager
async def run(
    binary: Path, *, log: Path | None = None, log_level: str = "info"
) -> AsyncIterator[LiveKitServer]:
    """livekit-server for as long as the block lasts; `log` survives it if you name one.

    :raises ToolError: if it does not start; with the last lines of its log.
    """
    with tempfile.TemporaryDirectory(prefix="livekit-server-") as folder:
        config = _write_configuration(Path(folder), log_level)
        log = log or config.log
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *_command(binary, config.path), stdin=DEVNULL, stdout=output, stderr=STDOUT
            )
        try:
            await _until_it_answers(config.url, process.pid, log)
            yield LiveKitServer(config.url, API_KEY, config.api_secret, process.pid, log)
        finally:
            await _stop(process)


async def start_detached(binary: Path, folder: Path, *, log_level: str = "info") -> LiveKitServer:
    """livekit-server that goes on after this process has ended, in a session of its own.

    `folder` keeps its configuration and its log; end it with `stop_detached`.

    :raises ToolError: if it does not start; with the last lines of its log.
    """
    config = _write_configuration(folder, log_level)
    shell = await asyncio.create_subprocess_exec(
        *("sh", "-c", DETACH, "sh", str(config.log), *_command(binary, config.path)),
        stdin=DEVNULL,
        stdout=PIPE,
        start_new_session=True,
    )
    output, _ = await shell.communicate()
    pid = int(output)
    try:
        await _until_it_answers(config.url, pid, config.log)
    except BaseException:
        await stop_detached(pid)
        raise
    return LiveKitServer(config.url, API_KEY, config.api_secret, pid, config.log)


async def stop_detached(pid: int) -> None:
    """End a server of `start_detached`; nothing happens if it has ended already."""
    with contextlib.suppress(psutil.NoSuchProcess):
        await asyncio.to_thread(_stop_detached, psutil.Process(pid))


def _stop_detached(process: psutil.Process) -> None:
    for number, limit_seconds in STOP_SIGNALS_AND_SECONDS:
        process.send_signal(number)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(limit_seconds)
            return


async def _stop(process: asyncio.subprocess.Process) -> None:
    for number, limit_seconds in STOP_SIGNALS_AND_SECONDS:
        if process.returncode is None:
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_seconds):
                await process.wait()
                return


@dataclass(frozen=True, slots=True)
class _Configuration:
    path: Path
    log: Path
    url: str
    api_secret: str


def _write_configuration(folder: Path, log_level: str) -> _Configuration:
    """Free ports and a secret of our own: several servers can run on one machine."""
    signal_port, udp_port = _free_port(socket.SOCK_STREAM), _free_port(socket.SOCK_DGRAM)
    api_secret = secrets.token_urlsafe(36)
    folder.mkdir(parents=True, exist_ok=True)
    path, log = folder / "livekit-server.json", folder / "livekit-server.log"
    path.touch(mode=0o600)  # not a command line, which everybody on this machine can see
    log.write_bytes(b"")
    document = configuration(signal_port, udp_port, api_secret, log_level)
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")
    return _Configuration(path, log, f"ws://{HOST}:{signal_port}", api_secret)


def configuration(
    signal_port: int, udp_port: int, api_secret: str, log_level: str
) -> dict[str, Any]:
    """livekit-server's configuration (JSON is YAML): everything on the loopback address only."""
    return {
        "port": signal_port,
        "bind_addresses": [HOST],
        "rtc": {
            "udp_port": udp_port,
            # Media over TCP would listen on every address: livekit-server gives no choice
            # (mediatransportutil, rtcconfig/webrtc_config.go). Loopback does not need it.
            "tcp_port": 0,
            "use_external_ip": False,
            "node_ip": HOST,
            "enable_loopback_candidate": True,
            "ips": {"includes": [f"{HOST}/32"]},
        },
        "keys": {API_KEY: api_secret},
        "logging": {"level": log_level, "json": True},
    }


def _command(binary: Path, config: Path) -> tuple[str, ...]:
    return (*WITHOUT_FOREIGN_SETTINGS, str(binary), "--config", str(config))


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


async def _until_it_answers(url: str, pid: int, log: Path) -> None:
    """Ask until it answers or has died: a server that is starting has no event to wait for."""
    address = url.replace("ws://", "http://")
    deadline = asyncio.get_running_loop().time() + READY_WITHIN_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as session:
        while asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(address) as response:
                    if response.status == 200:
                        return
            if not _is_alive(pid):
                raise _did_not_start("livekit-server ended while it started", log)
            await asyncio.sleep(0.05)
    raise _did_not_start(f"livekit-server did not answer within {READY_WITHIN_SECONDS:g} s", log)


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _did_not_start(problem: str, log: Path) -> errors.ToolError:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_SHOWN:]
    said = "\n".join(lines) or "nothing"
    return errors.ToolError(
        f"{problem}; it said:\n{said}",
        fix="run it by hand to see why, or name another one in LIVEKIT_SERVER_BIN",
    )

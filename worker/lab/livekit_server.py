"""Runs a real livekit-server on this machine, on one address alone: loopback by default."""

import asyncio
import contextlib
import json
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from worker import settings as settings_module
from worker.lab import processes
from worker.lab.processes import Running

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

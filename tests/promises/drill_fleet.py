"""A fleet for drills: real pods, a real LiveKit, and as much of kubectl and helm as runbooks paste.

The two commands are stand-ins that ask this process; whatever else is pasted is the real thing.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from voicefleet.lab import livekit_server, processes, stack
from voicefleet.lab.livekit_server import LiveKitServer
from voicefleet.lab.processes import Running
from voicefleet.lab.stack import Stack

HOST = "127.0.0.1"
STARTED_WITHIN_SECONDS = 60.0
CHECK_SECONDS = 60.0

COMMAND = """#!{python}
import sys, urllib.request
body = "\\0".join(["{name}", *sys.argv[1:]]).encode()
with urllib.request.urlopen(urllib.request.Request("{url}", data=body)) as answer:
    sys.stdout.write(answer.read().decode())
    sys.exit(int(answer.headers["Exit-Code"]))
"""


class NotInTheDrillError(Exception):
    """A command, or a part of one, that no stand-in knows."""


@dataclass(slots=True)
class DrillFleet:
    """`releases` are the settings of each, the newest last; `pods` by their port. There is room for
    as many pods as there are ports, and the others are pending.
    """

    up: Stack
    binary: Path
    livekit: Running
    ports: Sequence[int]
    releases: list[dict[str, str]]
    pods: dict[int, Running] = field(default_factory=dict)
    logs: list[Path] = field(default_factory=list)
    wanted: int = 1

    async def answer(self, program: str, *words: str) -> str:
        """What kubectl or helm would print.

        :raises NotInTheDrillError: if it does not know the command.
        """
        words = without(words, "--namespace", "--container", "--since", "--tail", "--selector")
        match program, *words:
            case "helm", "rollback", _:
                self.releases.pop()
                await self._roll_out()
            case "helm", "upgrade", _, _, "--reset-then-reuse-values", "--set", change:
                name, _, value = change.removeprefix("settings.").partition("=")
                self.releases.append(self.releases[-1] | {name: value})
                await self._roll_out()
            case "helm", "history", _:
                return "".join(f"{n} {release}\n" for n, release in enumerate(self.releases, 1))
            case "kubectl", "scale", _, "--replicas", count:
                await self._scale(int(count))
            case "kubectl", "rollout", "restart", "deployment/livekit-server":
                await self._restart_livekit()
            case "kubectl", "exec", _, "--", *command:
                return await self._inside_a_pod(command)
            case "kubectl", "logs":
                return "".join(log.read_text() for log in self.logs)
            case "kubectl", "get", "pods" | "hpa" | "deployment.apps/lab", *_:
                return f"{len(self.pods)}/{self.wanted} pods ready, no autoscaler\n"
            case _:
                raise NotInTheDrillError(f"{program} {' '.join(words)}")
        return "done\n"

    async def lose_every_pod(self) -> None:
        """As when their nodes die."""
        self.wanted = 0
        for port in list(self.pods):
            await processes.kill(self.pods.pop(port))

    async def lose_livekit(self) -> None:
        await processes.stop(self.livekit)

    async def end(self) -> None:
        """End what the stack does not know of."""
        for running in (*self.pods.values(), self.livekit):
            await processes.stop(running)

    async def _restart_livekit(self) -> None:
        up = self.up
        ended = LiveKitServer(up.url, up.api_key, up.api_secret, self.livekit)
        self.livekit = (await livekit_server.start_again(self.binary, ended)).process

    async def _scale(self, count: int) -> None:
        self.wanted = count
        free = [port for port in self.ports if port not in self.pods]
        await asyncio.gather(*(self._start(p) for p in free[: count - len(self.pods)]))

    async def _roll_out(self) -> None:
        """New pods first, then the old ones are told to stop, as with maxUnavailable 0."""
        old = list(self.pods)
        free = [port for port in self.ports if port not in old]
        await asyncio.gather(*(self._start(port) for port in free[: len(old)]))
        await asyncio.gather(*(processes.stop(self.pods.pop(port)) for port in old))

    async def _start(self, port: int) -> None:
        name = f"worker-{len(self.logs)}"
        environment = self._environment() | {"VOICEFLEET_HTTP_PORT": str(port)}
        worker = processes.start(
            name,
            processes.python("voicefleet", "start"),
            environment=environment,
            folder=self.up.folder,
        )
        self.pods[port] = worker
        self.logs.append(worker.log)
        await processes.wait_for_line(
            worker,
            lambda line: '"registered worker"' in line,
            within_seconds=STARTED_WITHIN_SECONDS,
        )

    async def _inside_a_pod(self, command: Sequence[str]) -> str:
        """The output also where it fails: that is what a diagnosis wants to see."""
        environment = self._environment() | {"VOICEFLEET_HTTP_PORT": str(next(iter(self.pods), 0))}
        running = await asyncio.create_subprocess_exec(
            *processes.python(command[0], *command[1:]),
            env=environment,
            cwd=self.up.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(running.communicate(), CHECK_SECONDS)
        return output.decode()

    def _environment(self) -> dict[str, str]:
        return stack.operator_environment(self.up) | self.releases[-1]


@asynccontextmanager
async def commands(fleet: DrillFleet, folder: Path) -> AsyncIterator[str]:
    """A PATH on which kubectl and helm speak of this fleet."""

    async def handle(request: web.Request) -> web.Response:
        words = (await request.text()).split("\0")
        try:
            return web.Response(text=await fleet.answer(*words), headers={"Exit-Code": "0"})
        except NotInTheDrillError as error:
            text = f"not in the drill: {error}\n"
            return web.Response(text=text, headers={"Exit-Code": "64"})

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        url = f"http://{HOST}:{runner.addresses[0][1]}/"
        _write_commands(folder, url)
        yield f"{folder}:{os.environ['PATH']}"
    finally:
        await runner.cleanup()


def _write_commands(folder: Path, url: str) -> None:
    folder.mkdir()
    for name in ("kubectl", "helm"):
        program = folder / name
        program.write_text(COMMAND.format(python=sys.executable, name=name, url=url))
        program.chmod(0o755)


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def without(words: Sequence[str], *flags: str) -> tuple[str, ...]:
    """The words of a command before its `--`, without these flags and their values."""
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            return (*kept, word, *rest)
        if word in flags:
            next(rest)
        else:
            kept.append(word)
    return tuple(kept)

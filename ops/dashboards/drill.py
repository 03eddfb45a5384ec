"""Some minutes of a real fleet for the dashboards' pictures: pods, calls, an outage and a drain.

Nothing in it is made up: livekit-server, `voicefleet start`, Prometheus, and callers who
speak and listen. Only the providers are the lab's stand-ins.
"""

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from ops.dashboards.asking import Span
from ops.dashboards.query import RULES
from voicefleet import errors
from voicefleet.fleet import endpoints
from voicefleet.lab import caller, conversation, processes, prometheus, stack
from voicefleet.lab.caller import CallPlan
from voicefleet.lab.processes import Running
from voicefleet.lab.prometheus import SCRAPE_EVERY_SECONDS, Prometheus
from voicefleet.lab.stack import Stack

CALLERS = 2
SECONDS = 200.0
# When in it: who speaks fails for a while, a third pod comes, and a busy one is told to go.
OUTAGE_SECONDS = (45.0, 75.0)
GROWS_AFTER_SECONDS = 85.0
DRAINS_AFTER_SECONDS = 125.0
YOUNG_SECONDS = 10.0
# As a Grafana shows it whose data source is told that pods are scraped each 5 s.
SHOWN_EVERY_SECONDS = 5.0
# Who speaks has a second to fall back to.
SETTINGS = {"VOICEFLEET_SLOTS": "2", "VOICEFLEET_TTS": "cartesia,openai"}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet that runs. The first pod is the stack's own worker; each pod has a port of its own,
    and one that is not up yet is scraped already, and does not answer.
    """

    up: Stack
    ports: Sequence[int]
    parts: AsyncExitStack
    say: Say
    pods: dict[int, Running] = field(default_factory=dict)

    async def start_pod(self, number: int) -> None:
        """Start a pod beside the stack's own, and wait until LiveKit has taken it."""
        own = {"VOICEFLEET_AGENT": "assistant", "VOICEFLEET_HTTP_PORT": str(self.ports[number - 1])}
        pod = processes.start(
            f"pod-{number}",
            processes.python("voicefleet", "start"),
            environment=stack.operator_environment(self.up) | SETTINGS | own,
            folder=self.up.folder,
        )
        self.parts.push_async_callback(processes.stop, pod)
        self.pods[number] = pod
        await processes.wait_for_line(
            pod,
            lambda line: '"registered worker"' in line,
            within_seconds=stack.READY_WITHIN_SECONDS,
        )
        self.say(f"pod-{number} takes calls")

    async def drain_one_with_calls(self) -> None:
        """Tell a pod in a call to stop, as Kubernetes would."""
        while True:
            found = await endpoints.ask([f"127.0.0.1:{port}" for port in self.ports])
            number, pod = max(enumerate(found, start=1), key=lambda one: one[1].calls)
            # A call that has just begun is seen draining for longest.
            if pod.calls and (pod.oldest_call_seconds or 0) < YOUNG_SECONDS:
                break
            await asyncio.sleep(1.0)
        os.kill(self.pods[number].pid, signal.SIGTERM)
        self.say(f"pod-{number} was told to stop with {pod.calls} calls")

    async def speech(self, fault: str) -> None:
        """How the stand-in of the first TTS behaves from now on."""
        address = f"{self.up.providers_url}/lab/behaviour/cartesia"
        async with aiohttp.ClientSession() as http, http.put(address, json={"fault": fault}) as put:
            put.raise_for_status()
        self.say(f"cartesia: {fault}")


@asynccontextmanager
async def ended(
    livekit: Path, prometheus_binary: Path, folder: Path, say: Say
) -> AsyncIterator[tuple[Prometheus, Span]]:
    """The Prometheus that has seen it all, and from when to when, once it is over."""
    ports = [_free_port() for _ in range(3)]
    own = {**SETTINGS, "VOICEFLEET_HTTP_PORT": str(ports[0])}
    plan = stack.Plan("assistant", "assistant", folder, livekit, (), tuple(own.items()))
    async with AsyncExitStack() as parts:
        up = await parts.enter_async_context(stack.run(plan, lambda *_: None))
        targets = [f"127.0.0.1:{port}" for port in ports]
        watching = await parts.enter_async_context(
            prometheus.run(prometheus_binary, targets, folder, rules(folder))
        )
        fleet = Fleet(up, ports, parts, say, {1: _worker(up)})
        await fleet.start_pod(2)
        begins = time.time()
        await _story(fleet)
        yield watching, Span(begins, time.time(), SHOWN_EVERY_SECONDS)


async def _story(fleet: Fleet) -> None:
    async with asyncio.TaskGroup() as going_on:
        for number in range(CALLERS):
            going_on.create_task(_calls(fleet), name=f"caller {number + 1}")
        going_on.create_task(_events(fleet), name="what happens to the fleet")


async def _events(fleet: Fleet) -> None:
    began = time.monotonic()

    async def at(seconds: float) -> None:
        await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))

    await at(OUTAGE_SECONDS[0])
    await fleet.speech("server_error")
    await at(OUTAGE_SECONDS[1])
    await fleet.speech("none")
    await at(GROWS_AFTER_SECONDS)
    await fleet.start_pod(3)
    await at(DRAINS_AFTER_SECONDS)
    await fleet.drain_one_with_calls()


async def _calls(fleet: Fleet) -> None:
    """One caller after the other, until it is late."""
    script, late = conversation.load("assistant"), time.monotonic() + SECONDS
    up = fleet.up
    while time.monotonic() < late:
        plan = CallPlan(up.url, up.api_key, up.api_secret, up.agent_name, script)
        try:
            done = await caller.place_call(plan)
        except errors.VoicefleetError as error:
            fleet.say(f"a call failed: {error.problem}")
        else:
            fleet.say(f"a call of {len(done.turns)} turns is over")


def rules(folder: Path) -> list[Path]:
    """Copies of ops/rules that are evaluated as often as the lab scrapes pods."""
    copies = []
    for path in sorted(RULES.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        often = re.sub(r"interval: \d+s", f"interval: {SCRAPE_EVERY_SECONDS}s", text)
        copies.append(folder / path.name)
        copies[-1].write_text(often, encoding="utf-8")
    return copies


def _worker(up: Stack) -> Running:
    return next(part for part in up.parts if part.name == "worker")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

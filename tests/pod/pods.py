"""A whole pod in the test's own process, between the two stand-ins, seen as its operator sees it.

It is built and run as `voicefleet start` does it after the fork, from settings in the environment
and an agent file on disk. What a test touches is LiveKit's side, the job processes' side, and the
endpoints; how the pod is made inside is named in `_life` and `_quiet_machine` alone.
"""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from livekit.agents import worker
from prometheus_client.parser import text_string_to_metric_families

from tests.pod.livekit_stand_in import WITHIN_SECONDS, LiveKitStandIn
from tests.pod.pool_stand_in import PoolStandIn
from tests.waiting import wait_until
from voicefleet import settings as settings_module
from voicefleet.job import agent_file
from voicefleet.pod import cgroup, reconnect
from voicefleet.pod import pod as pod_module
from voicefleet.pod.cgroup import Limits, Reading
from voicefleet.settings import Settings
from voicefleet.settings.livekit import LIVEKIT_ACCESS

# An agent file as a user writes it; what it does with an offer is the test's.
AGENT_FILE = """
import asyncio
from livekit.agents import AgentServer, JobContext, JobRequest

server = AgentServer()

{on_request}

@server.rtc_session(agent_name="desk", on_request={handler})
async def entrypoint(ctx: JobContext) -> None:
    ...
"""

AT_ONCE_SECONDS = 1.0

_numbers = count(1)


def _life(settings: Settings) -> Coroutine[Any, Any, None]:
    """From the agent file to the end of the pod, as `voicefleet.cli.start.serve` has it."""
    return pod_module.run(settings, agent_file.load(settings.agent.file))


class QuietMachine:
    """A cgroup in which nothing uses anything: the tests' own CPU is no reason to refuse a call."""

    def reading(self) -> Reading:
        return Reading(0.0, 0)

    def limits(self) -> Limits:
        return Limits(None, None)


@dataclass(slots=True)
class RunningPod:
    """What an operator has of it: its endpoints, and its end."""

    client: aiohttp.ClientSession
    life: asyncio.Task[None]
    end_was_seen: bool = False

    async def get(self, path: str) -> tuple[int, str]:
        async with self.client.get(path) as response:
            return response.status, await response.text()

    async def status(self, path: str) -> int:
        return (await self.get(path))[0]

    async def drainz(self) -> dict[str, Any]:
        async with self.client.get("/drainz") as response:
            report: dict[str, Any] = await response.json()
            return report

    async def drain(self) -> dict[str, Any]:
        """POST /drainz, and what it answers."""
        async with self.client.post("/drainz") as response:
            assert response.status == 202
            report: dict[str, Any] = await response.json()
            return report

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of this metric that have these labels."""
        _, text = await self.get("/metrics")
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def becomes_ready(self) -> None:
        async def is_ready() -> bool:
            return await self.status("/readyz") == 200

        await wait_until(is_ready, because="the pod is ready", timeout_seconds=WITHIN_SECONDS)

    async def has_calls(self, number: int) -> None:
        """/drainz shows so many."""

        async def is_so() -> bool:
            return bool((await self.drainz())["calls"] == number)

        await wait_until(
            is_so, because=f"the pod has {number} calls", timeout_seconds=WITHIN_SECONDS
        )

    async def has_counted(self, number: int, **labels: str) -> None:
        """The metric of calls shows so many that ended, or were refused, like this."""

        async def is_so() -> bool:
            return await self.metric("voicefleet_calls_total", **labels) == number

        because = f"{number} calls are counted as {labels}"
        await wait_until(is_so, because=because, timeout_seconds=AT_ONCE_SECONDS)

    async def left(self, *, within_seconds: float = WITHIN_SECONDS) -> None:
        """The pod has ended; raises what it ended with."""
        await asyncio.wait({self.life}, timeout=within_seconds)
        assert self.life.done(), f"the pod has not left within {within_seconds:g} s"
        self.end_was_seen = True
        await self.life


@asynccontextmanager
async def running_pod(
    livekit: LiveKitStandIn,
    pool: PoolStandIn,
    folder: Path,
    *,
    on_request: str | None = None,
    source: str | None = None,
    is_hurried: bool = True,
    **environment: str,
) -> AsyncIterator[RunningPod]:
    """A pod with two slots for this LiveKit, as soon as its endpoints listen; `environment` is what
    its operator sets. `on_request` is the source of a function of this name for its agent file,
    `source` that of a whole other file.
    LiveKit's worker is ten times as fast as in life in its reports and its patience, if it may.

    At the end every caller hangs up, and the pod is told to stop and has to leave; an error of it
    that the test has not seen is raised.
    """
    file = folder / f"agent_{next(_numbers)}.py"
    handler = "None" if on_request is None else "on_request"
    file.write_text(source or AGENT_FILE.format(on_request=on_request or "", handler=handler))
    operators = {
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": livekit.api_key,
        "LIVEKIT_API_SECRET": livekit.api_secret,
        "VOICEFLEET_AGENT": str(file),
        "VOICEFLEET_SLOTS": "2",
        "VOICEFLEET_HTTP_PORT": "0",
    }
    with (
        _environment(operators | environment),
        _quiet_machine(),
        _hurried(10 if is_hurried else 1),
        _port() as port,
    ):
        settings = settings_module.load(env_file=None).require(*LIVEKIT_ACCESS)
        life = asyncio.create_task(_life(settings), name="pod")
        first: set[asyncio.Future[Any]] = {life, port}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if life.done():
            await life
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port.result()}") as client:
            pod = RunningPod(client, life)
            try:
                yield pod
            finally:
                await _stop(pod, pool)
        if not pod.end_was_seen:
            await life


async def _stop(pod: RunningPod, pool: PoolStandIn) -> None:
    if pod.life.done():
        return
    await pool.release()
    # The pod may leave by itself at this very moment.
    with contextlib.suppress(aiohttp.ClientError):
        await pod.drain()
    await asyncio.wait({pod.life}, timeout=WITHIN_SECONDS)
    if not pod.life.done():
        pod.life.cancel()
        await asyncio.wait({pod.life})
        raise AssertionError("the pod was told to stop, has no call left, and has not left")


@contextmanager
def _environment(operators: dict[str, str]) -> Iterator[None]:
    """What the operator sets and nothing else, and no trace of the pod afterwards."""
    before, path = dict(os.environ), list(sys.path)
    for name in [n for n in os.environ if n.startswith(("VOICEFLEET_", "LIVEKIT_", "OTEL_"))]:
        del os.environ[name]
    os.environ.update(operators)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.path[:] = path


@contextmanager
def _quiet_machine() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cgroup, "find", QuietMachine)
        yield


@contextmanager
def _hurried(times: int) -> Iterator[None]:
    """LiveKit's own timers, each as long as before beside the others."""
    with pytest.MonkeyPatch.context() as patch:
        for timer in ("UPDATE_LOAD_INTERVAL", "UPDATE_STATUS_INTERVAL", "ASSIGNMENT_TIMEOUT"):
            patch.setattr(worker, timer, getattr(worker, timer) / times)
        yield


@contextmanager
def impatient(seconds: float) -> Iterator[None]:
    """Have pods wait for no longer than this for the answer to a registration, in place of 15 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconnect, "REGISTERED_WITHIN_SECONDS", seconds)
        yield


@contextmanager
def in_development() -> Iterator[None]:
    """Have pods run as `voicefleet dev` has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pod_module, "run", partial(pod_module.run, devmode=True))
        yield


@contextmanager
def _port() -> Iterator[asyncio.Future[int]]:
    """Where the next pod's endpoints listen, as its log says."""
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Look(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg == "endpoints listen" and not found.done():
                found.set_result(record.__dict__["port"])

    handler = Look()
    ours = logging.getLogger("voicefleet")
    level = ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield found
    finally:
        ours.setLevel(level)
        ours.removeHandler(handler)

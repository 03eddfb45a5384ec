"""The fleet's pods, looked at every second, by way of `kubectl proxy`."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from tests.cluster.kubernetes import is_leaving, is_ready
from voicefleet import settings
from voicefleet.lab import processes

LOOK_EVERY_SECONDS = 1.0
PROXY_WITHIN_SECONDS = 20.0
SELECTOR = {"labelSelector": "app.kubernetes.io/component=worker"}


@dataclass(frozen=True, slots=True)
class Look:
    """How many pods there were. Those that drain are told to leave, and do when their calls end."""

    at: float
    starting: int
    ready: int
    draining: int

    def __str__(self) -> str:
        others = ((self.starting, "starting"), (self.draining, "draining"))
        return " + ".join([str(self.ready), *(f"{n} {how}" for n, how in others if n)])


@dataclass(slots=True)
class Watch:
    """All looks so far, and the machine's memory at its fullest."""

    url: str
    namespace: str
    looks: list[Look] = field(default_factory=list)
    most_memory_bytes: int = 0

    def since(self, began: float) -> str:
        """The pods over time, each change once."""
        seen = [str(look) for look in self.looks if look.at >= began]
        return " → ".join(how for how, _ in itertools.groupby(seen))

    async def run(self) -> None:
        async with aiohttp.ClientSession() as http:
            while True:
                # A look that fails is one too few: the API server may be busy for a second.
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    self.looks.append(await self._look(http))
                self.most_memory_bytes = max(self.most_memory_bytes, psutil.virtual_memory().used)
                await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _look(self, http: aiohttp.ClientSession) -> Look:
        path = f"{self.url}/api/v1/namespaces/{self.namespace}/pods"
        async with http.get(path, params=SELECTOR) as answer:
            pods = (await answer.json()).get("items", [])
        staying = [pod for pod in pods if not is_leaving(pod)]
        ready = sum(map(is_ready, staying))
        return Look(time.monotonic(), len(staying) - ready, ready, len(pods) - len(staying))


@asynccontextmanager
async def proxied(folder: Path) -> AsyncIterator[str]:
    """The API server without its keys, for as long as the block lasts."""
    command = ["kubectl", "proxy", "--port=0"]
    proxy = processes.start(
        "kubectl-proxy", command, environment=settings.environment(), folder=folder
    )
    try:
        line = await processes.wait_for_line(
            proxy, lambda line: "127.0.0.1:" in line, within_seconds=PROXY_WITHIN_SECONDS
        )
        yield "http://" + line.split()[-1]
    finally:
        await processes.stop(proxy)


@asynccontextmanager
async def watching(folder: Path, namespace: str) -> AsyncIterator[Watch]:
    async with proxied(folder) as url:
        watch = Watch(url, namespace)
        looking = asyncio.create_task(watch.run(), name="watch")
        try:
            yield watch
        finally:
            looking.cancel()
            await asyncio.wait({looking})

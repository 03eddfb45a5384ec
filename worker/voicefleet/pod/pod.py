"""The life of the pod: start, serve, drain when told to stop, and say why it ended."""

import asyncio
import contextlib
import logging
import signal
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from livekit.agents import AgentServer

from voicefleet import errors
from voicefleet.job import prewarm
from voicefleet.pod import http, reach
from voicefleet.pod.wiring import Pod
from voicefleet.settings import Settings, for_jobs
from voicefleet.settings.pod import FAREWELL_WITHIN_SECONDS
from voicefleet.telemetry.messages import Cause

logger = logging.getLogger(__name__)


async def run(pod: Pod, settings: Settings, *, devmode: bool = False) -> None:
    """Serve calls until a signal or /drainz says stop, then let every call end; in `devmode` end
    them at once.

    :raises LiveKitError: if LiveKit does not come, goes for good, or refuses the key.
    :raises PortError: if the port of the endpoints is taken.
    """
    with _signals() as told_to_stop:
        async with (
            pod.telemetry.showing(),
            _endpoints(pod, settings, told_to_stop),
            _processes(pod, settings),
        ):
            # Wait for LiveKit, unless told to stop meanwhile.
            waiting = reach.wait(settings.livekit)
            try:
                if await _unless(told_to_stop, waiting, "wait for LiveKit"):
                    await _serve_until(told_to_stop, pod, settings, devmode=devmode)
            finally:
                pod.state.is_stopped = True


async def _serve_until(
    told_to_stop: asyncio.Event, pod: Pod, settings: Settings, *, devmode: bool
) -> None:
    # Serve. LiveKit's run() ends only with an error or after aclose().
    serving = asyncio.create_task(_serve(pod.server, settings, devmode=devmode), name="serve")
    stopping = asyncio.create_task(told_to_stop.wait(), name="wait for a signal")
    refused = asyncio.create_task(pod.reconnect.given_up.wait(), name="wait for a last refusal")
    try:
        await asyncio.wait({serving, stopping, refused}, return_when=asyncio.FIRST_COMPLETED)

        # Told to stop, or LiveKit is gone: take nothing new, let calls end. A start cannot drain.
        has_begun = pod.state.is_serving or not serving.done()
        if not pod.state.is_serving and pod.state.prewarm_failures:
            serving.cancel()
        elif has_begun and not devmode:
            pod.state.begin_drain(settings.pod.drain_timeout_seconds)
            await _drain(pod, settings)
    finally:
        stopping.cancel()
        refused.cancel()
        await pod.server.aclose()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    if pod.reconnect.given_up.is_set():
        raise _gone(settings, "it refuses to register this pod")


@asynccontextmanager
async def _endpoints(
    pod: Pod, settings: Settings, told_to_stop: asyncio.Event
) -> AsyncIterator[None]:
    """The probes and /drainz, from before the start to after the drain."""

    def begin_drain() -> None:
        pod.state.begin_drain(settings.pod.drain_timeout_seconds)
        told_to_stop.set()

    token = settings.pod.drain_token
    app = http.application(
        pod.state,
        begin_drain,
        inference_is_alive=partial(_inference_is_alive, pod.server),
        drain_token=token.get_secret_value() if token else None,
    )
    http.add(app, pod.telemetry.scrape)
    async with AsyncExitStack() as stack:
        try:
            serving = http.serving(app, settings.pod.http_host, settings.pod.http_port)
            port = await stack.enter_async_context(serving)
        except OSError as error:
            raise port_taken(settings, error) from error
        logger.info("endpoints listen", extra={"host": settings.pod.http_host, "port": port})
        yield


@asynccontextmanager
async def _processes(pod: Pod, settings: Settings) -> AsyncIterator[None]:
    """The socket to the job processes, in a folder that nobody else may enter."""
    with tempfile.TemporaryDirectory(prefix="voicefleet-") as folder:
        path = Path(folder) / "pod.sock"
        pod.server.setup_fnc = partial(prewarm.prewarm, settings=for_jobs(settings), pod=path)
        with pod.processes.deaths.listening():
            async with pod.processes.listening(path):
                yield


async def _inference_is_alive(server: AgentServer) -> bool:
    """What LiveKit's own health port knows of its inference process (1.8.9, worker.py)."""
    port = server.worker_info.http_port
    if port == 0:
        return True
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/") as response,
    ):
        return response.status == 200 or "inference" not in await response.text()


async def _serve(server: AgentServer, settings: Settings, *, devmode: bool) -> None:
    hidden = _ReportedByUs()
    logging.getLogger("livekit.agents").addFilter(hidden)
    try:
        await server.run(devmode=devmode)
    except RuntimeError as error:
        if "failed to connect to livekit" not in str(error):
            raise
        raise _gone(settings, str(error)) from error
    finally:
        logging.getLogger("livekit.agents").removeFilter(hidden)


def _gone(settings: Settings, why: str) -> errors.LiveKitError:
    return errors.LiveKitError(
        f"LiveKit at {settings.livekit.url} is gone: {why}",
        fix="see whether LiveKit runs, and whether it still knows LIVEKIT_API_KEY",
    )


def port_taken(settings: Settings, error: OSError) -> errors.PortError:
    address = f"{settings.pod.http_host}:{settings.pod.http_port}"
    return errors.PortError(
        f"the endpoints cannot listen on {address}: {error.strerror}",
        fix="set VOICEFLEET_HTTP_PORT to a free port (0 picks one), or stop who has it",
    )


async def _drain(pod: Pod, settings: Settings) -> None:
    logger.info("draining", extra={"calls": pod.state.call_count})
    try:
        await pod.server.drain()
    except TimeoutError:
        # What is still on is ended with words, and each agent file's own end is waited for.
        logger.warning("drain deadline reached", extra={"calls": pod.state.call_count})
        handlers_seconds = settings.pod.session_end_timeout_seconds
        await pod.processes.end_calls(Cause.DRAINED, FAREWELL_WITHIN_SECONDS + handlers_seconds)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None], name: str) -> bool:
    """Do the work, unless `stop` comes first; True when it was done."""
    doing = asyncio.create_task(work, name=name)
    stopping = asyncio.create_task(stop.wait(), name=f"stop instead of: {name}")
    await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not doing.done():
        doing.cancel()
        return False
    await doing
    return True


@contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """An event that the first SIGTERM or SIGINT sets; further ones change nothing, so that a
    supervisor which repeats itself drops no call.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class _ReportedByUs(logging.Filter):
    """Hides the traceback of a lost connection, which `run` raises as an error with its fix."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.getMessage() != "Error in _connection_task"

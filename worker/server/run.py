"""The life of the pod: start, serve, drain when told to stop, and say why it ended."""

import asyncio
import errno
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from livekit.agents import AgentServer

from worker import errors
from worker.server import reach
from worker.server.wiring import Pod
from worker.settings import Settings

logger = logging.getLogger(__name__)


async def run(pod: Pod, settings: Settings, *, devmode: bool = False) -> None:
    """Serve calls until a signal says stop, then let every call end; in `devmode` end them at once.

    :raises LiveKitError: if LiveKit does not come, goes for good, or refuses the key.
    :raises PortError: if the health port is taken.
    """
    server, state = pod.server, pod.state
    with _signals() as told_to_stop:
        # Wait for LiveKit, unless told to stop meanwhile.
        if not await _unless(told_to_stop, reach.wait(settings.livekit), "wait for LiveKit"):
            return

        # Serve. LiveKit's run() ends only with an error or after aclose().
        serving = asyncio.create_task(_serve(server, settings, devmode=devmode), name="serve")
        stopping = asyncio.create_task(told_to_stop.wait(), name="wait for a signal")
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)

            # Told to stop: take nothing new, let the calls end.
            if not serving.done() and not devmode:
                state.begin_drain(settings.pod.drain_timeout_seconds)
                await _drain(server)
        finally:
            stopping.cancel()
            state.is_stopped = True
            await server.aclose()
        await serving


async def _serve(server: AgentServer, settings: Settings, *, devmode: bool) -> None:
    hidden = _ReportedByUs()
    logging.getLogger("livekit.agents").addFilter(hidden)
    try:
        await server.run(devmode=devmode)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise port_taken(settings) from error
    except RuntimeError as error:
        if "failed to connect to livekit" not in str(error):
            raise
        raise errors.LiveKitError(
            f"LiveKit at {settings.livekit.url} is gone: {error}",
            fix="see whether LiveKit runs, and whether it still knows LIVEKIT_API_KEY",
        ) from error
    finally:
        logging.getLogger("livekit.agents").removeFilter(hidden)


def port_taken(settings: Settings) -> errors.PortError:
    address = f"{settings.pod.http_host}:{settings.pod.http_port}"
    return errors.PortError(
        f"the health port {address} is taken by another process",
        fix="set WORKER_HTTP_PORT to a free port (0 picks one), or stop the other process",
    )


async def _drain(server: AgentServer) -> None:
    logger.info("draining", extra={"calls": len(server.active_jobs)})
    try:
        await server.drain()
    except TimeoutError:
        logger.warning("drain deadline reached", extra={"calls": len(server.active_jobs)})


async def _unless(stop: asyncio.Event, work: "asyncio._CoroutineLike[None]", name: str) -> bool:
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

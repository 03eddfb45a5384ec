"""The sessions of a call, each told as it starts, and all closed before its end: an agent file may
have one for every participant.

LiveKit names a job's first session alone, and has no event for a start. So its public method
`AgentSession.start` is wrapped while a call lasts; a process has one call at a time.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any

from livekit.agents import AgentSession

from worker.telemetry.harmless import harmless

logger = logging.getLogger(__name__)

# Of the time of the agent file's session-end handler, which runs afterwards. At a drain LiveKit
# alone gives them as long, and then kills the process.
CLOSE_WITHIN_SECONDS = 10.0

Tell = Callable[[AgentSession[Any]], None]


def tell_starts(tell: Tell) -> Callable[[], None]:
    """Tell of every session that is started from now on, right before it starts; returns what ends
    it. A session that is started again is told again.
    """
    start: Any = AgentSession.start

    @functools.wraps(start)
    async def told(session: AgentSession[Any], *arguments: Any, **named: Any) -> Any:
        with harmless():
            tell(session)
        return await start(session, *arguments, **named)

    def end() -> None:
        AgentSession.start = start  # type: ignore[method-assign]

    AgentSession.start = told  # type: ignore[method-assign,assignment]
    return end


async def close(left: Iterable[AgentSession[Any]]) -> None:
    """Close them, all at once: what each hears and uses last is told by the time this returns.

    LiveKit closes the first session of a job while the room is there, and the others when it has
    gone: beside all shutdown callbacks, so after the call's end is told, and not to their end where
    one of those fails (1.8.9, ipc/job_proc_lazy_main.py, `_shutdown_job`).
    """
    try:
        async with asyncio.timeout(CLOSE_WITHIN_SECONDS):
            # Why one could not be closed is in LiveKit's log.
            await asyncio.gather(*(one.aclose() for one in left), return_exceptions=True)
    except TimeoutError:
        logger.warning("a session did not close in time")

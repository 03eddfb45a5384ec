"""The sessions of a call, each told as it starts: an agent file may have one for every participant.

LiveKit names a job's first session alone, and has no event for a start. So its public method
`AgentSession.start` is wrapped while a call lasts; a process has one call at a time.
"""

import functools
from collections.abc import Callable
from typing import Any

from livekit.agents import AgentSession

from worker.telemetry.harmless import harmless

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

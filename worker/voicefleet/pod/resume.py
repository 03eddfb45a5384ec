"""A call outlives its job: where one dies without a word of its call's end, another goes on.

The next one is a warm process of this pod. LiveKit's server is not asked: it has offered the call
once and knows of no other job.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from voicefleet.pod.calls import Call, CallState, CallTable
from voicefleet.telemetry.messages import Cause, NotResumed

logger = logging.getLogger(__name__)

MINUTE_SECONDS = 60.0

Launch = Callable[[object, str], Awaitable[None]]


# Whose caller is told farewell: a call that takes its jobs along.
HOPELESS = (NotResumed.TOO_OFTEN, NotResumed.MEMORY)


@dataclass(slots=True)
class ResumePolicy:
    """Which calls go on, and how. Belongs to the parent's event loop. A call that kills its jobs is
    not resumed for ever, but `most_a_minute` times. `launch` gives what LiveKit had launched to a
    new process, under another job id.
    """

    table: CallTable
    is_wanted: bool
    most_a_minute: int
    launch: Launch
    has_stopped: bool = field(default=False, init=False)

    def obstacle(self, call: Call, killed_for: Cause | None) -> NotResumed | None:
        """Why this call, whose job has just died or was killed for a cause, is not resumed."""
        if not self.is_wanted:
            return NotResumed.OFF
        if self.has_stopped:
            return NotResumed.POD_STOPS
        if call.job is None:
            return NotResumed.NOT_LAUNCHED
        if killed_for is Cause.MEMORY and any(d.cause is Cause.MEMORY for d in call.deaths):
            return NotResumed.MEMORY
        since = self.table.clock() - MINUTE_SECONDS
        if sum(1 for death in call.deaths if death.at > since) >= self.most_a_minute:
            return NotResumed.TOO_OFTEN
        return None

    async def bring_back(self, call: Call) -> bool:
        """Have another process go on with the call, or say farewell to its caller; whether one was
        found. The table knows by now that the process before has died.
        """
        job_id = call.current_job_id
        try:
            await self.launch(call.job, job_id)
        except Exception:
            logger.exception("no process could be launched for a call", extra={"job_id": job_id})
            return call.current_job_id != job_id or call.state is not CallState.RESUMING
        return True

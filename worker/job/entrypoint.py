"""The call itself: what LiveKit runs in a warm process when a job comes. The agent file decides."""

import asyncio
import inspect

from livekit.agents import JobContext

from worker.job import limits
from worker.job.agent_file import AgentFile
from worker.job.prewarm import AGENT_FILE
from worker.providers import session
from worker.setting_groups import Call


async def answer(ctx: JobContext) -> None:
    """Run the agent file's entrypoint, and see that the call does not last for ever."""
    call: Call = ctx.proc.userdata[session.SETTINGS].call
    if call.longest_seconds is not None:
        ending = limits.end_after(ctx, call.longest_seconds, call.farewell)
        timer = asyncio.create_task(ending, name="longest call")

        async def cancel() -> None:
            timer.cancel()

        ctx.add_shutdown_callback(cancel)
    await _hosted(ctx).entrypoint(ctx)


async def end(ctx: JobContext) -> None:
    """Run the agent file's session-end handler; only registered where the file has one."""
    handler = _hosted(ctx).on_session_end
    if handler is None:
        return
    result = handler(ctx)
    if inspect.isawaitable(result):
        await result


def _hosted(ctx: JobContext) -> AgentFile:
    hosted: AgentFile = ctx.proc.userdata[AGENT_FILE]
    return hosted

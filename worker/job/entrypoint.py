"""The call itself: what LiveKit runs in a warm process when a job comes. The agent file decides."""

import inspect

from livekit.agents import JobContext

from worker.job.agent_file import AgentFile
from worker.job.pod_line import POD_LINE
from worker.job.prewarm import AGENT_FILE
from worker.job.watch import Watch
from worker.providers.prepared import SETTINGS
from worker.settings import Settings

# Where the end of a call finds its watch, in `JobProcess.userdata`.
WATCH = "worker.watch"


async def answer(ctx: JobContext) -> None:
    """Run the agent file's entrypoint, watched for as long as the call lasts."""
    settings: Settings = ctx.proc.userdata[SETTINGS]
    watch = Watch(ctx, settings, ctx.proc.userdata.get(POD_LINE))
    ctx.proc.userdata[WATCH] = watch
    watch.begin()
    await _hosted(ctx).entrypoint(ctx)
    watch.entrypoint_returned()


async def end(ctx: JobContext) -> None:
    """Close the call's last sessions, then run the agent file's session-end handler, if it has one.

    LiveKit has closed the first session by now, and the room is still there.
    """
    watch: Watch = ctx.proc.userdata[WATCH]
    await watch.close_sessions()
    handler = _hosted(ctx).on_session_end
    if handler is None:
        return
    result = handler(ctx)
    if inspect.isawaitable(result):
        await result


def _hosted(ctx: JobContext) -> AgentFile:
    hosted: AgentFile = ctx.proc.userdata[AGENT_FILE]
    return hosted

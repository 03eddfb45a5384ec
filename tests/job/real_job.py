"""A job process of LiveKit's own, in the pool's way and without a server; run as a program.

`python -m tests.job.real_job forked|forkserver|spawn` runs one call of the agent file that
VOICEFLEET_AGENT names. It leads its process group, and is a subreaper, as the pod is.
"""

import asyncio
import multiprocessing
import signal
import sys
from functools import partial
from pathlib import Path

from livekit.agents.ipc.job_proc_executor import ProcJobExecutor
from livekit.agents.job import JobAcceptArguments, RunningJobInfo
from livekit.protocol import agent, models

from voicefleet import settings
from voicefleet.job import call, descendants, prewarm
from voicefleet.pod import forkserver

PRELOADED = [
    "voicefleet.job.preload",
    "livekit.agents.ipc._preload",
    "livekit.agents.ipc._preload_freeze",
]


def main() -> None:
    [method] = sys.argv[1:]
    if method == "forked":
        assert forkserver.fork(lambda: None)
    asyncio.run(run(method.replace("forked", "forkserver")))


async def run(method: str) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: None)
    descendants.adopt_orphans()
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(PRELOADED)
    executor = ProcJobExecutor(
        initialize_process_fnc=partial(
            prewarm.prewarm, settings=settings.load(), pod=Path("nobody.sock")
        ),
        job_entrypoint_fnc=call.answer,
        session_end_fnc=call.end,
        simulation_end_fnc=None,
        inference_executor=None,
        initialize_timeout=120,
        close_timeout=60,
        session_end_timeout=10,
        memory_warn_mb=0,
        memory_limit_mb=0,
        ping_interval=2.5,
        ping_timeout=60,
        high_ping_threshold=0.5,
        http_proxy=None,
        mp_ctx=context,
        loop=loop,
    )
    await executor.start()
    await executor.initialize()
    room = models.Room(sid="RM_1", name="room")
    await executor.launch_job(
        RunningJobInfo(
            accept_arguments=JobAcceptArguments(identity="agent", name="", metadata=""),
            job=agent.Job(id="AJ_1", room=room, type=agent.JobType.JT_ROOM),
            url="",
            token="",
            worker_id="",
            fake_job=True,
        )
    )
    await executor.join()
    sys.stdout.write(f"the job ended with {executor.exitcode}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()

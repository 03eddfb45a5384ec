"""Imported once by the forkserver, for its effects alone: what it loads, every job shares, copy on
write (`AgentServer(preload_modules=…)`). Nothing else imports it.

Only what survives a fork may stand here: no thread, no event loop, no open connection. A failure
is left for prewarm to report, in the job: an error here would end the forkserver, and with it
every process of the pod.
"""

import contextlib
import signal
from importlib import import_module

# What every job imports: once here, and not again in each, where it would be memory of its own and
# time before the call. And what is imported on first use, inside the first call, where each would
# stop that call's audio for a tenth of a second: what the OpenAI client needs to open its first
# connection, and what LiveKit aligns captions with speech by.
MODULES = (
    "worker.job.entrypoint",
    "anyio._backends._asyncio",
    "numpy.fft",
)

# A SIGTERM to the whole process group (systemd, `timeout`, a shell) is for the parent alone.
# LiveKit's jobs mean to ignore it, but under the forkserver they do not (livekit-agents 1.8.9,
# ipc/job_proc_lazy_main.py). What is ignored here is ignored in every process forked from here.
signal.signal(signal.SIGTERM, signal.SIG_IGN)

with contextlib.suppress(Exception):
    for _name in MODULES:
        import_module(_name)

    from worker import settings
    from worker.job import agent_file, shared_models

    _settings = settings.load()
    shared_models.vad(_settings.providers)
    if _settings.agent.is_preloaded:
        agent_file.load(_settings.agent.file)

with contextlib.suppress(Exception):
    from worker.job import rehearsal

    rehearsal.rehearse()

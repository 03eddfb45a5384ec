"""Imported once by the forkserver, for its effects alone: what it loads, every job shares, copy on
write (`AgentServer(preload_modules=…)`). Nothing else imports it.

Only what survives a fork may stand here: no thread, no event loop, no open connection. A failure
is left for prewarm to report, in the job: an error here would end the forkserver, and with it
every process of the pod.
"""

import contextlib
import signal

# A SIGTERM to the whole process group (systemd, `timeout`, a shell) is for the parent alone.
# LiveKit's jobs mean to ignore it, but under the forkserver they do not (livekit-agents 1.8.9,
# ipc/job_proc_lazy_main.py). What is ignored here is ignored in every process forked from here.
signal.signal(signal.SIGTERM, signal.SIG_IGN)

with contextlib.suppress(Exception):
    from worker import settings
    from worker.job import shared_imports, shared_models

    _settings = settings.load()
    shared_imports.load(_settings.agent)
    shared_models.vad(_settings.providers)

with contextlib.suppress(Exception):
    from worker.job import rehearsal

    rehearsal.rehearse()

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
    from voicefleet import settings
    from voicefleet.job import shared

    _settings = settings.load()
    shared.load(_settings.agent)
    shared.vad(_settings.providers)

with contextlib.suppress(Exception):
    from voicefleet.job import shared

    shared.rehearse()

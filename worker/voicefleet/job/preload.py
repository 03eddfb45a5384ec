"""Imported once by the forkserver, for its effects alone: what it loads, every job shares, copy on
write (`AgentServer(preload_modules=…)`). Nothing else imports it.

Only what survives a fork may stand here: no thread, no event loop, no open connection. An error
is left for prewarm to report, in the job; here it would end the forkserver, and with it every
process of the pod.
"""

from contextlib import suppress

from voicefleet.job import signals

# LiveKit's jobs mean to ignore a SIGTERM to the group, but not under the forkserver (1.8.9,
# ipc/job_proc_lazy_main.py). Every job is forked with what is set here.
signals.leave_to_the_parent()

with suppress(Exception):
    from voicefleet import settings
    from voicefleet.job import shared

    _settings = settings.load()
    with suppress(Exception):
        shared.load(_settings.agent, _settings.providers)
    with suppress(Exception):
        shared.vad(_settings.providers)

with suppress(Exception):
    from voicefleet.job import shared

    shared.rehearse()

with suppress(Exception):
    from voicefleet.job import tls

    tls.make_ahead()

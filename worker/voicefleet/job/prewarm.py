"""What a job process loads before a call comes, so that no caller waits for it.

Runs once in each process, as LiveKit's `setup_fnc`. LiveKit's own VAD and turn detector are
already in memory, loaded once in the forkserver and shared by fork (livekit-agents 1.8.9,
ipc/_preload.py, and `voicefleet.job.preload`); what is left differs from process to process.
"""

import contextlib
import ctypes
import gc
import os
import sys
import threading
from multiprocessing import util
from pathlib import Path

from livekit.agents import JobExecutorType, JobProcess

from voicefleet.job import agent_file, descendants, importing, pod_client, shared, signals
from voicefleet.job.pod_client import POD_CLIENT
from voicefleet.livekit_compat import agents as livekit_agents
from voicefleet.livekit_compat import speaking_rate
from voicefleet.providers.prepared import SETTINGS, VAD
from voicefleet.settings import Settings
from voicefleet.telemetry import job_traces, logs
from voicefleet.telemetry.messages import PrewarmFailed, Warm, shortened

# Where the entrypoint finds the agent file that prewarm has imported.
AGENT_FILE = "voicefleet.agent_file"

# As long as LiveKit alone would wait for them (1.8.9, worker.py, shutdown_process_timeout).
THREADS_END_WITHIN_SECONDS = 10.0


def prewarm(process: JobProcess, *, settings: Settings, pod: Path) -> None:
    """Load everything, and tell the pod that listens at this path how it went.

    The pod lets it wait first where other processes have just failed.
    :raises AgentFileError: as `agent_file.load`; the process is then replaced by another.
    """
    if process.executor_type is JobExecutorType.PROCESS:
        _take_over()
    client = pod_client.connect(pod)
    if client is None:
        load(process, settings=settings)
        return
    process.userdata[POD_CLIENT] = client
    util.Finalize(None, client.flush_at_exit, exitpriority=0)
    client.begin()
    try:
        logs.add_span_ids()
        job_traces.set_up(settings.telemetry, client.send)
        load(process, settings=settings)
    except Exception as error:
        client.send(PrewarmFailed(error=shortened(f"{type(error).__name__}: {error}")))
        raise
    _give_memory_back()
    client.send(Warm())


def load(process: JobProcess, *, settings: Settings) -> None:
    """Leave settings, VAD and agent file in `process.userdata`, then run the file's own setup.

    :raises AgentFileError: as `agent_file.load`.
    """
    livekit_agents.remember()
    speaking_rate.compute_at_once()
    process.userdata[SETTINGS] = settings
    process.userdata[VAD] = shared.vad(settings.providers)
    hosted = agent_file.load(settings.agent.file)
    process.userdata[AGENT_FILE] = hosted
    if "llm" in hosted.parts:
        from voicefleet.providers import session

        session.prepare(process)
    if hosted.setup is not None:
        with importing.log_contained():
            hosted.setup(process)


def _take_over() -> None:
    """Make this process answer for itself and for what is started in it, from its beginning to its
    end.
    """
    # A spawned job ignores these signals by now, and programs would inherit that (livekit-agents
    # 1.8.9, ipc/job_proc_lazy_main.py).
    signals.leave_to_the_parent()
    signals.restore_in_forked_children()
    descendants.adopt_orphans()
    # Forked processes run no `atexit` before Python 3.13, but these; the highest priority first.
    util.Finalize(None, descendants.end_descendants, exitpriority=1)
    util.Finalize(None, leave_in_time, exitpriority=0)


def leave_in_time() -> None:
    """Python waits for threads that are no daemons before it ends a process, and a library's may
    never end. It holds up the next call of a pod whose ends are all taken.
    """
    leaving = threading.Timer(THREADS_END_WITHIN_SECONDS, _leave)
    leaving.daemon = True
    leaving.start()


def _leave() -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _give_memory_back() -> None:
    """Loading leaves free memory behind, 5 MB in each process, which glibc would keep for good."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)

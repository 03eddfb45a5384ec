"""What a job process loads before a call comes, so that no caller waits for it.

Runs once in each process, as LiveKit's `setup_fnc`. LiveKit's own VAD and turn detector are
already in memory, loaded once in the forkserver and shared by fork (livekit-agents 1.8.9,
ipc/_preload.py, and `voicefleet.job.preload`); what is left is per process by nature.
"""

import contextlib
import ctypes
import gc
from pathlib import Path

from livekit.agents import JobProcess

from voicefleet.job import agent_file, pod_client, shared
from voicefleet.job.pod_client import POD_CLIENT
from voicefleet.providers.prepared import SETTINGS, VAD
from voicefleet.settings import Settings
from voicefleet.telemetry import job_traces, logs
from voicefleet.telemetry.messages import PrewarmFailed, Warm, shortened

# Where the entrypoint finds the agent file that prewarm has imported.
AGENT_FILE = "voicefleet.agent_file"


def prewarm(process: JobProcess, *, settings: Settings, pod: Path) -> None:
    """Load everything, and tell the pod that listens at this path how it went.

    The pod lets it wait first where other processes have just failed.
    :raises AgentFileError: as `agent_file.load`; the process is then replaced by another.
    """
    line = pod_client.connect(pod)
    if line is None:
        load(process, settings=settings)
        return
    process.userdata[POD_CLIENT] = line
    line.begin()
    try:
        logs.add_span_ids()
        job_traces.set_up(settings.telemetry, line.send)
        load(process, settings=settings)
    except Exception as error:
        line.send(PrewarmFailed(error=shortened(f"{type(error).__name__}: {error}")))
        raise
    _give_memory_back()
    line.send(Warm())


def load(process: JobProcess, *, settings: Settings) -> None:
    """Leave settings, VAD and agent file in `process.userdata`, then run the file's own setup.

    :raises AgentFileError: as `agent_file.load`.
    """
    process.userdata[SETTINGS] = settings
    process.userdata[VAD] = shared.vad(settings.providers)
    hosted = agent_file.load(settings.agent.file)
    process.userdata[AGENT_FILE] = hosted
    if "llm" in hosted.parts:
        from voicefleet.providers import session

        session.prepare(process)
    if hosted.setup is not None:
        hosted.setup(process)


def _give_memory_back() -> None:
    """Loading leaves free memory behind, 5 MB in each process, which glibc would keep for good."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)

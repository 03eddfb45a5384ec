"""`start`: run the worker in production."""

import asyncio
import logging
from functools import partial
from importlib.metadata import version

from voicefleet import settings as settings_module
from voicefleet.cli import signals
from voicefleet.job import agent_file, shared
from voicefleet.job.agent_file import AgentFile
from voicefleet.livekit_compat import versions
from voicefleet.pod import forkserver, pod
from voicefleet.providers import keys, model_files, preflight
from voicefleet.settings import Settings
from voicefleet.settings.livekit import LIVEKIT_ACCESS
from voicefleet.telemetry import logs, reports

logger = logging.getLogger(__name__)


def start() -> None:
    """Serve calls until told to stop, then let every call end."""
    settings = settings_module.load()
    serve(settings, devmode=False)


def serve(settings: Settings, *, devmode: bool) -> None:
    """Load what `start` and `dev` need, complain about all of it at once, and serve."""
    signals.leave_when_told()
    reports.require_directory(settings.telemetry.report_dir)
    forkserver.fork(partial(shared.load, settings.agent, settings.providers))
    settings_module.export_otel_settings()
    allow_pii = settings.telemetry.allow_pii
    logs.configure(settings.logs, allow_pii=allow_pii, secrets=settings.secrets())
    hosted = agent_file.load(settings.agent.file)
    settings = settings_module.completed(settings).require(*LIVEKIT_ACCESS)
    logs.hide(settings.secrets())
    pod.require_time_to_stop(settings.pod, hosted)
    if hosted.uses_our_providers:
        settings.require(*keys.needed(settings.providers, hosted.parts))
        preflight.require(settings.providers, hosted.parts)
        model_files.require(settings.providers)
    _say_who(settings, hosted)
    asyncio.run(pod.run(settings, hosted, devmode=devmode))


def _say_who(settings: Settings, hosted: AgentFile) -> None:
    if (warning := versions.warning_for(version("livekit-agents"))) is not None:
        logger.warning("livekit-agents is not a tested version", extra={"warning": warning})
    name = settings.agent.name or hosted.agent_name
    logger.info("hosting agent file", extra={"file": hosted.source, "agent_name": name})
    if not name:
        logger.warning(
            "the agent has no name, so LiveKit gives it every new room of the project",
            extra={"fix": "set VOICEFLEET_AGENT_NAME, or agent_name in the agent file"},
        )

"""`start`: run the worker in production."""

import asyncio
import logging
from functools import partial

from worker import settings as settings_module
from worker.cli import leaving
from worker.job import agent_file, shared_imports
from worker.job.agent_file import AgentFile
from worker.providers import keys, model_files
from worker.server import run, wiring, zygote
from worker.setting_groups import LIVEKIT_ACCESS
from worker.settings import Settings
from worker.telemetry import logs, report_places

logger = logging.getLogger(__name__)


def start() -> None:
    """Serve calls until told to stop, then let every call end."""
    settings = settings_module.load()
    serve(settings, devmode=False)


def serve(settings: Settings, *, devmode: bool) -> None:
    """Load what `start` and `dev` need, complain about all of it at once, and serve."""
    leaving.when_told()
    settings.require(*LIVEKIT_ACCESS)
    report_places.require_directory(settings.telemetry.report_dir)
    zygote.fork(partial(shared_imports.load, settings.agent))
    settings_module.lend_to_opentelemetry()
    allow_pii = settings.telemetry.allow_pii
    logs.configure(settings.logs, allow_pii=allow_pii, secrets=settings.secrets())
    hosted = agent_file.load(settings.agent.file)
    if hosted.uses_our_providers:
        settings.require(*keys.needed(settings.providers, hosted.parts))
        model_files.require(settings.providers)
    _say_who(settings, hosted)
    pod = wiring.build(settings, hosted)
    asyncio.run(run.run(pod, settings, devmode=devmode))


def _say_who(settings: Settings, hosted: AgentFile) -> None:
    name = settings.agent.name or hosted.agent_name
    logger.info("hosting agent file", extra={"file": hosted.source, "agent_name": name})
    if not name:
        logger.warning(
            "the agent has no name, so LiveKit gives it every new room of the project",
            extra={"fix": "set WORKER_AGENT_NAME, or agent_name in the agent file"},
        )

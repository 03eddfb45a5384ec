"""What the parent and every job import: once, before the fork."""

from importlib import import_module

from worker.job import agent_file
from worker.setting_groups import Agent

# What every job imports: once here, and not again in each, where it would be memory of its own and
# time before the call. And what is imported on first use, inside the first call, where each would
# stop that call's audio for a tenth of a second: what the OpenAI client needs to open its first
# connection, and what LiveKit aligns captions with speech by.
MODULES = (
    "worker.job.entrypoint",
    "anyio._backends._asyncio",
    "numpy.fft",
)


def load(agent: Agent) -> None:
    """The agent file too, if it may be; else the plugins that it imports, which LiveKit would have
    before the fork anyway.

    :raises AgentFileError: as `agent_file.load`.
    """
    for name in MODULES:
        import_module(name)
    if agent.is_preloaded:
        agent_file.load(agent.file)
    else:
        for name in agent_file.plugins(agent.file):
            import_module(name)

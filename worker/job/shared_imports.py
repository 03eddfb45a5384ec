"""What the parent and every job import: once, before the fork."""

import ast
import re
from importlib import import_module
from pathlib import Path

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

PLUGIN = re.compile(r"livekit\.plugins\.\w+")


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
        for name in plugins(agent.file):
            import_module(name)


def plugins(path: str) -> list[str]:
    """The plugins and builders that a file imports, in its order, by reading it and no more; of
    what is no readable Python file, none.
    """
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    named = list[str]()
    for node in tree.body:
        if isinstance(node, ast.Import):
            named += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            named += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in named if PLUGIN.fullmatch(name) or name in agent_file.BUILDERS]

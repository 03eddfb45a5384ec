"""What the parent and every job import: once, before the fork."""

import ast
import asyncio
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import openai
from livekit.agents import vad as livekit_vad
from livekit.agents.utils import http_context

from voicefleet.job import agent_file
from voicefleet.providers import turns
from voicefleet.settings.agents import Agent
from voicefleet.settings.providers import Providers


@cache
def vad(settings: Providers) -> livekit_vad.VAD:
    """The VAD of these settings; the one that the forkserver loaded, if they are the same.

    Silero's session runs on the caller's thread (one intra-op thread, livekit-plugins-silero
    1.8.9, onnx_model.py), which is why it may be loaded before a fork.
    """
    return turns.load_vad(settings)


# What every job imports: once here, and not again in each, where it would be memory of its own and
# time before the call. And what is imported on first use, inside the first call, where each would
# stop that call's audio for a tenth of a second: what the OpenAI client needs to open its first
# connection, and what LiveKit aligns captions with speech by.
MODULES = (
    "voicefleet.job.call",
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


def rehearse() -> None:
    """Leaves modules and LiveKit's shared TLS context behind; no thread, loop or connection."""
    # Not asyncio.run(), which leaves the thread without a loop to get.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_clients())
    finally:
        loop.close()


async def _clients() -> None:
    # The session that the plugins share (livekit-agents 1.8.9, utils/http_context.py): it keeps
    # the TLS context of the process.
    async with http_context.open():
        pass
    async with openai.AsyncOpenAI(api_key="unused") as client:
        # Imported when they are asked for: 60 modules, and the schemas of their types.
        _ = client.chat.completions, client.audio.speech, client.audio.transcriptions

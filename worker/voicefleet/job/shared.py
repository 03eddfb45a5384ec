"""What the forkserver imports and loads once, before the fork, and every job shares."""

import ast
import asyncio
import re
import sys
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import openai
from livekit.agents import tokenize
from livekit.agents import vad as livekit_vad
from livekit.agents.utils import http_context

import voicefleet
from voicefleet.job import agent_file
from voicefleet.providers import plugins as chosen_plugins
from voicefleet.providers import turns
from voicefleet.providers.keys import Part
from voicefleet.settings.agents import Agent
from voicefleet.settings.providers import Providers

# Every job imports the first. The others are imported on first use, inside the first call, and
# each would stop that call's audio for a tenth of a second: what the OpenAI client needs to open
# its first connection, what LiveKit aligns captions with speech by, and tools that run on.
MODULES = (
    "voicefleet.job.call",
    "anyio._backends._asyncio",
    "numpy.fft",
    "livekit.agents.llm.async_toolset",
)

PLUGIN = re.compile(r"livekit\.plugins\.\w+")
PUBLIC = {f"voicefleet.{name}": name for name in voicefleet.__all__}


def load(agent: Agent, providers: Providers) -> None:
    """Import what every job imports: the agent file too, if it may be; if not, what it imports of
    plugins and session builders, which start no thread and open no connection. Then the plugins
    that the settings choose, if a session is built of them.

    :raises AgentFileError: as `agent_file.load`.
    """
    for name in MODULES:
        import_module(name)
    if agent.is_preloaded:
        agent_file.load(agent.file)
    else:
        for name in plugins(agent.file):
            _import(name)
    chosen_plugins.import_chosen(providers, _parts_in_use())


def _parts_in_use() -> frozenset[Part]:
    """What the session builders that are imported by now want of the providers."""
    used = [parts for name, parts in agent_file.BUILDERS.items() if name in sys.modules]
    parts = frozenset[Part]().union(*used)
    # A voice apologises where a speech-to-speech model is lost.
    return parts | {"tts"} if "realtime" in parts else parts


@cache
def vad(settings: Providers) -> livekit_vad.VAD:
    """The VAD of these settings; the one that the forkserver loaded, if they are the same.

    Silero's session runs on the caller's thread (one intra-op thread, livekit-plugins-silero
    1.8.9, onnx_model.py), which is why it may be loaded before a fork.
    """
    return turns.load_vad(settings)


def plugins(agent: str) -> list[str]:
    """The plugins that an agent file imports at its top level, and what it uses of voicefleet, as
    dotted names in its order. The file, a path or a module, is read and not run; one that cannot
    be read has none.
    """
    try:
        tree = ast.parse(_source(agent).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    named = list[str]()
    for node in tree.body:
        if isinstance(node, ast.Import):
            named += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            named += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    if "voicefleet" in named:
        # `import voicefleet` imports nothing of it before `voicefleet.build_session` is looked up.
        named += [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return [name for name in dict.fromkeys(named) if _is_shared(name)]


def _is_shared(name: str) -> bool:
    return bool(PLUGIN.fullmatch(name)) or name in agent_file.BUILDERS or name in PUBLIC


def _import(name: str) -> None:
    if name in PUBLIC:
        getattr(voicefleet, PUBLIC[name])
    else:
        import_module(name)


def _source(agent: str) -> Path:
    """:raises OSError: if it is a module that has no source file."""
    path = Path(agent)
    if path.suffix == ".py" or path.is_absolute():
        return path
    shipped = _spec(f"voicefleet.agents.{agent}.agent") if agent.isidentifier() else None
    found = shipped or _spec(agent)
    if found is None or found.origin is None or not found.has_location:
        raise FileNotFoundError(agent)
    return Path(found.origin)


def _spec(module: str) -> ModuleSpec | None:
    """Where a module is. Not `importlib.util.find_spec`, which imports the packages around it."""
    name, folders, found = "", None, None
    for part in module.split("."):
        name = f"{name}.{part}".lstrip(".")
        found = PathFinder.find_spec(name, folders)
        if found is None:
            return None
        folders = found.submodule_search_locations or []
    return found


def rehearse() -> None:
    """Do what the first call would do first, for the modules and the TLS context that it leaves
    behind; no thread, loop or connection stays.
    """
    # Not asyncio.run(), which leaves the thread without a loop to get.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_clients())
    finally:
        loop.close()
    # Captions are cut at syllables; the patterns are read for the first word.
    tokenize.basic.hyphenate_word("captions")


async def _clients() -> None:
    # The session that the plugins share (livekit-agents 1.8.9, utils/http_context.py): it keeps
    # the TLS context of the process.
    async with http_context.open():
        pass
    async with openai.AsyncOpenAI(api_key="unused") as client:
        # Imported when they are asked for: 60 modules, and the schemas of their types.
        _ = client.models, client.chat.completions
        _ = client.audio.speech, client.audio.transcriptions

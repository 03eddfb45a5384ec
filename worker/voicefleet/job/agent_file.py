"""The agent file: found, imported, and read for what LiveKit's decorator registered in it.

Imported in the parent (name, request handler) and again in each job process (everything else), as
LiveKit's own worker does. Any file that `python -m livekit.agents start` runs is good here.
"""

import ast
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from livekit.agents import AgentServer, AgentSession, JobContext, JobProcess, JobRequest

from voicefleet import errors
from voicefleet.job import importing
from voicefleet.livekit_compat import server as livekit_server
from voicefleet.providers.keys import PIPELINE, Part

# What builds a session out of our settings, and the parts that it wants for it. Known by name:
# whoever does not use them does not pay for their import.
BUILDERS: dict[str, frozenset[Part]] = {
    "voicefleet.providers.session": PIPELINE,
    "voicefleet.providers.listener": frozenset({"stt"}),
    "voicefleet.providers.realtime": frozenset({"realtime"}),
}

CANNOT_IMPORT = re.compile(r"cannot import name '(\w+)'")

WHAT_TO_WRITE = (
    "define one, as LiveKit's documentation shows: server = AgentServer(), then"
    " @server.rtc_session(agent_name=…) above async def entrypoint(ctx: JobContext)"
)


@dataclass(frozen=True, slots=True)
class AgentFile:
    """The file's own server, which the pod runs, and what the file registered with it."""

    source: str
    server: AgentServer
    agent_name: str
    entrypoint: Callable[[JobContext], Awaitable[None]]
    on_request: Callable[[JobRequest], Any] | None
    on_session_end: Callable[[JobContext], Any] | None
    on_simulation_end: Callable[[Any], Any] | None
    setup: Callable[[JobProcess], Any] | None
    save_call: Callable[[AgentSession[Any]], Any] | None
    """What the file wants to have again where another job goes on with its call: JSON data."""
    resume_call: Callable[[JobContext, Any], Awaitable[None]] | None
    """Runs in that job instead of the entrypoint, with what was saved."""
    shutdown_timeout_seconds: float | None
    """What it gives its shutdown callbacks; None where it says nothing of it."""
    parts: frozenset[Part]
    """What it wants of our providers; nothing where it brings its own."""
    plugins: frozenset[str]
    """LiveKit's plugins that the file itself names, as `deepgram`; not those of what it imports."""

    @property
    def uses_our_providers(self) -> bool:
        return bool(self.parts)


def load(name: str) -> AgentFile:
    """The agent file that `VOICEFLEET_AGENT` names: a path, a module, or one that ships.

    :raises AgentFileError: if it is missing, does not import, or has no session, or more than one.
    """
    with importing.contained(), livekit_server.captured_run_app() as given:
        module = _import(name)
        servers = _servers(module) or given or _servers_of_main_block(name, module, given)
    server = _only(name, servers)
    found = livekit_server.registered(server)
    if found.entrypoint is None:
        raise errors.AgentFileError(
            f"{name} makes an AgentServer, but registers no session with it", fix=WHAT_TO_WRITE
        )
    return AgentFile(
        source=str(module.__file__),
        server=server,
        agent_name=found.agent_name,
        entrypoint=found.entrypoint,
        on_request=found.on_request,
        on_session_end=found.on_session_end,
        on_simulation_end=found.on_simulation_end,
        setup=found.setup,
        save_call=_function(module, "save_call"),
        resume_call=_function(module, "resume_call"),
        shutdown_timeout_seconds=livekit_server.shutdown_timeout_seconds(server),
        parts=_parts(module),
        plugins=_plugins(module),
    )


def _function(module: ModuleType, name: str) -> Any:
    value = getattr(module, name, None)
    return value if callable(value) else None


def _plugins(module: ModuleType) -> frozenset[str]:
    names = (
        value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        for value in vars(module).values()
    )
    namespace = "livekit.plugins."
    return frozenset(
        name.removeprefix(namespace).partition(".")[0]
        for name in names
        if isinstance(name, str) and name.startswith(namespace)
    )


def _import(name: str) -> ModuleType:
    path = Path(name)
    if path.suffix == ".py" or path.is_absolute():
        return _import_path(path)
    module = f"voicefleet.agents.{name}.agent" if name in shipped() else name
    try:
        is_there = importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        is_there = False
    if not is_there:
        raise errors.AgentFileError(
            f"VOICEFLEET_AGENT is {name!r}, and there is no such module (in {Path.cwd()},"
            " or elsewhere on the path)",
            fix=_what_there_is(),
        )
    return _run(name, module)


def _import_path(path: Path) -> ModuleType:
    if not path.is_file():
        raise errors.AgentFileError(
            f"VOICEFLEET_AGENT is {str(path)!r}, and there is no such file"
            f" (seen from {Path.cwd()})",
            fix=_what_there_is(),
        )
    folder, module_name = livekit_server.module_of(path)
    sys.path.insert(0, str(folder))
    module = _run(str(path), module_name)
    if Path(str(module.__file__)).resolve() != path.resolve():
        raise errors.AgentFileError(
            f"{path} would be imported as {module_name!r}, a name that"
            f" {module.__file__} has already",
            fix="rename your file",
        )
    return module


def _run(name: str, module: str) -> ModuleType:
    # A file may raise anything on import, SystemExit from an unguarded run_app() included.
    try:
        return importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if "only one rtc_session" in str(error):
            raise errors.AgentFileError(
                f"{name} registers two sessions with one AgentServer",
                fix="keep one @server.rtc_session in a file; host the other as another fleet",
            ) from error
        raise errors.AgentFileError(
            f"{name} does not import: {type(error).__name__}: {error}{_where(name, error)}",
            fix=_import_fix(error),
        ) from error


def _where(name: str, error: BaseException) -> str:
    """The line of the agent file at which its import went wrong, if it got that far."""
    if isinstance(error, SyntaxError):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).name == Path(name).name]
    return f" (line {ours[-1].lineno})" if ours else ""


def _import_fix(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return 'put what ends the process under: if __name__ == "__main__":'
    if isinstance(error, ImportError) and (package := _missing_package(error)):
        return f"install {package}, beside voicefleet or in your image"
    return "run the file with python to see more, or this command with -v"


def _missing_package(error: ImportError) -> str | None:
    """What to install; None where something else is wrong with the import."""
    plugins = "livekit.plugins"
    # LiveKit's plugins share a namespace: what is missing there is a name, and no module.
    if error.name == plugins and (named := CANNOT_IMPORT.search(str(error))):
        return f"livekit-plugins-{named[1]}".replace("_", "-")
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    if error.name.startswith(f"{plugins}."):
        return f"livekit-plugins-{error.name.split('.')[2]}".replace("_", "-")
    return error.name


def _servers(module: ModuleType) -> list[AgentServer]:
    return [value for value in vars(module).values() if isinstance(value, AgentServer)]


def _servers_of_main_block(
    name: str, module: ModuleType, given: list[AgentServer]
) -> list[AgentServer]:
    """The server or the options that the file gives to `run_app` under its guard, as most files of
    before AgentServer do: what stands there is run, and `run_app` only takes note.
    """
    source = Path(str(module.__file__))
    tree = ast.parse(source.read_bytes())
    blocks = [node for node in tree.body if isinstance(node, ast.If) and _is_guard(node.test)]
    if not blocks or "run_app" not in source.read_text(encoding="utf-8"):
        return []
    body = ast.Module([statement for block in blocks for statement in block.body], [])
    try:
        exec(compile(body, source, "exec"), vars(module))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if not given:
            raise errors.AgentFileError(
                f"what {name} does as a program fails: {type(error).__name__}: {error}",
                fix="run the file with python to see more, or this command with -v",
            ) from error
    return given


def _is_guard(test: ast.expr) -> bool:
    """Whether this is `__name__ == "__main__"`, either way round."""
    if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = {ast.unparse(test.left), ast.unparse(test.comparators[0])}
    return sides == {"__name__", "'__main__'"}


def _only(name: str, found: list[AgentServer]) -> AgentServer:
    servers = {id(server): server for server in found}
    if not servers:
        raise errors.AgentFileError(f"{name} has no AgentServer", fix=WHAT_TO_WRITE)
    if len(servers) > 1:
        raise errors.AgentFileError(
            f"{name} has {len(servers)} AgentServers, and a pod hosts one",
            fix="keep one in a file; host the other as another fleet",
        )
    return next(iter(servers.values()))


def _parts(module: ModuleType) -> frozenset[Part]:
    """Known by what the file imports: one of our modules, or a function of it."""
    names = {
        value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        for value in vars(module).values()
    }
    used = [parts for builder, parts in BUILDERS.items() if builder in names]
    return frozenset[Part]().union(*used)


def shipped() -> list[str]:
    """The names of the agents that come with voicefleet."""
    folder = Path(__file__).parent.parent / "agents"
    return sorted(file.parent.name for file in folder.glob("*/agent.py"))


def _what_there_is() -> str:
    return (
        "give the path of a .py file, a module whose package is installed beside voicefleet, or one"
        f" of: {', '.join(shipped())}"
    )

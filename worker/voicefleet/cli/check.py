"""`check`: the preflight. It tries everything that a start needs."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from importlib.metadata import version

import typer

from voicefleet import settings as settings_module
from voicefleet.errors import ExitCode, VoicefleetError
from voicefleet.fleet import endpoints
from voicefleet.job import agent_file
from voicefleet.job.agent_file import AgentFile
from voicefleet.livekit_compat import server as livekit_server
from voicefleet.livekit_compat import versions
from voicefleet.pod import reach as livekit_reach
from voicefleet.pod.pod import port_taken, require_time_to_stop
from voicefleet.providers import keys, model_files, preflight
from voicefleet.providers import reach as provider_reach
from voicefleet.settings import Settings
from voicefleet.settings.livekit import LIVEKIT_ACCESS
from voicefleet.settings.providers import CHAIN_SETTING
from voicefleet.telemetry import reports

ANY_HOST = "0.0.0.0"

# The file makes them in its entrypoint, which a room is needed for.
A_CALL_TRIES_THEM = "a call tries them (`voicefleet call`, beside `voicefleet start`)"

Check = tuple[str, Callable[[], str | None]]


class Doubt(str):
    """What a check has to tell that may be wrong, or as it is meant to be."""

    __slots__ = ()
    word = "warn"


class Untried(Doubt):
    """Why nothing was tried, and what would try it."""

    __slots__ = ()
    word = "skip"


def check() -> int:
    """Check settings, agent file, port, models, LiveKit and every provider.

    Prints a line for each, with a fix if it fails. Ends with the code of the first failure.
    """
    settings = settings_module.load()
    typer.echo("ok    settings")
    if (warning := versions.warning_for(version("livekit-agents"))) is not None:
        typer.echo(f"warn  {warning}")
    codes = [_try(*step) for step in steps(settings)]
    failures = [code for code in codes if code is not ExitCode.OK]
    if failures:
        failed = f"error: {len(failures)} of {len(codes) + 1} checks failed"
        typer.echo(f"{failed}\nfix: what the lines that begin with FAIL say", err=True)
        return failures[0]
    typer.echo("all is well: `voicefleet start` will serve")
    return ExitCode.OK


def steps(settings: Settings) -> Iterator[Check]:
    """What is checked, in the order of a start. Each check is run before the next is asked for: the
    agent file is loaded once, and its providers are those of the file that was loaded.
    """
    loaded = list[AgentFile]()
    yield "agent file", partial(_agent_file, settings, loaded)
    # The file may have loaded keys of its own.
    settings = settings_module.completed(settings)
    yield "endpoints", partial(_port, settings)
    if (folder := settings.telemetry.report_dir) is not None:
        yield "call reports", partial(reports.require_directory, folder)
    for name, loader in model_files.checks(settings.providers):
        yield name, partial(model_files.load, name, loader)
    yield "LiveKit", partial(_livekit, settings)
    if not loaded:
        yield "providers", lambda: "not asked, because the agent file does not load"
        return
    parts, plugins = loaded[0].parts, loaded[0].plugins
    if "turn_detector" in plugins:
        yield "turn detector of the agent file", model_files.require_plugin
    if not parts:
        yield "providers", partial(_own_providers, plugins)
        return
    for part in preflight.parts_to_make(settings.providers, parts):
        yield CHAIN_SETTING[part], partial(preflight.make, settings.providers, part)
    for name, probe in provider_reach.chosen(settings.providers, parts).items():
        yield name, partial(_provider, name, probe, settings)


def _try(name: str, step: Callable[[], str | None]) -> ExitCode:
    """Run one check and print its line; a failure prints what happened and its fix."""
    try:
        detail = step()
    except VoicefleetError as error:
        typer.echo(f"FAIL  {name}: {' '.join(error.problem.split())}\n      fix: {error.fix}")
        return error.exit_code
    word = detail.word if isinstance(detail, Doubt) else "ok"
    typer.echo(f"{word:<5} {name}{f': {detail}' if detail else ''}")
    return ExitCode.OK


def _agent_file(settings: Settings, loaded: list[AgentFile]) -> str:
    hosted = agent_file.load(settings.agent.file)
    loaded.append(hosted)
    require_time_to_stop(settings.pod, hosted)
    name = settings.agent.name or hosted.agent_name
    called = (
        f"dispatched as {name!r}" if name else "without a name: LiveKit gives it every new room"
    )
    own = settings.pod.shutdown_timeout_seconds
    replaced = livekit_server.replaced_options(hosted.server, own)
    theirs = f"; settings replace its {', '.join(replaced)}" if replaced else ""
    return f"{settings.agent.file}, {called}{theirs}"


def _own_providers(plugins: frozenset[str]) -> str:
    given = settings_module.environment()
    missing = [
        f"livekit.plugins.{plugin} usually reads {name}, which is not set"
        for plugin, name in sorted(keys.KEY_OF.items())
        if plugin in plugins and not given.get(name)
    ]
    if missing:
        return Doubt(f"{'; '.join(missing)} (the agent file may give its own); {A_CALL_TRIES_THEM}")
    return Untried(f"the agent file brings its own, which are not asked; {A_CALL_TRIES_THEM}")


def _port(settings: Settings) -> str:
    host, port = settings.pod.http_host, settings.pod.http_port
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            # Inside a running pod, the pod itself has the port.
            phase = _phase_of_the_pod(host, port)
            if phase is None:
                raise port_taken(settings, error) from error
            return f"{host}:{port}, of a pod that runs here and is {phase}"
    return f"{host}:{port}" if port else f"{host}, at any free port"


def _phase_of_the_pod(host: str, port: int) -> str | None:
    """The phase of the pod that has the port; None if another program has it."""
    reached_at = "127.0.0.1" if host == ANY_HOST else host
    (pod,) = asyncio.run(endpoints.ask([f"{reached_at}:{port}"]))
    return pod.phase


def _livekit(settings: Settings) -> str | None:
    settings.require(*LIVEKIT_ACCESS)
    asyncio.run(livekit_reach.check(settings.livekit))
    return settings.livekit.url


def _provider(name: str, probe: provider_reach.Probe, settings: Settings) -> None:
    asyncio.run(provider_reach.check(name, probe, settings.providers))

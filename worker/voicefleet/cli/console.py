"""`console`: talk with an agent in this terminal, by typing or, with LiveKit's console, aloud."""

import asyncio
import shutil
import sys
import threading
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from livekit.agents import cli as livekit_cli

from voicefleet import errors
from voicefleet import settings as settings_module
from voicefleet.cli import signals
from voicefleet.cli.demo_call import whole_path
from voicefleet.errors import ExitCode
from voicefleet.job import agent_file
from voicefleet.job.agent_file import AgentFile
from voicefleet.lab import conversation, processes, stack, typed_line
from voicefleet.lab.conversation import Conversation
from voicefleet.lab.processes import Running
from voicefleet.lab.typed_line import Door, TypedLine
from voicefleet.pod import pod
from voicefleet.providers import keys as provider_keys
from voicefleet.providers import preflight
from voicefleet.settings import Settings

CONNECTED_WITHIN_SECONDS = 60.0
# The column in which the words of a line begin.
MARGIN = 9


def console(
    agent: Annotated[
        str | None, typer.Option(help="As VOICEFLEET_AGENT. Default: what that says.")
    ] = None,
    script: Annotated[
        str | None,
        typer.Option("--conversation", help="Which conversation the stand-in model knows."),
    ] = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="Use your providers and their keys, not the stand-ins.")
    ] = False,
    voice: Annotated[
        bool, typer.Option("--voice", help="Talk aloud, with your keys and LiveKit's console.")
    ] = False,
) -> int:
    """Talk with an agent in this terminal. This needs no LiveKit, and without --keys no key.

    The stand-in model knows the lines of one conversation, which are shown, and nothing else. What
    only hears or speaks is not used: errors of those are not shown.
    """
    settings = settings_module.load()
    hosted = agent_file.load(agent or settings.agent.file)
    if (keys or voice) and hosted.uses_our_providers:
        settings.require(*provider_keys.needed(settings.providers, hosted.parts))
        preflight.require(settings.providers, hosted.parts)
    if voice:
        return _aloud(settings, hosted)
    if keys:
        return signals.run(_typed(hosted, None))
    return signals.run(_typed(hosted, _script(hosted, script)))


def _script(hosted: AgentFile, script: str | None) -> str:
    """What the stand-ins shall know.

    :raises UsageError: if nothing is known of this agent.
    """
    if script is not None:
        return whole_path(script)
    if hosted.agent_name in conversation.shipped_names():
        return hosted.agent_name
    raise errors.UsageError(
        f"the stand-in model knows no conversation with {hosted.agent_name or hosted.source!r}",
        fix="give --conversation FILE, as docs/your-agent-without-keys.md shows, or --keys to use"
        " your providers",
    )


async def _typed(hosted: AgentFile, script: str | None) -> int:
    """Talk until the agent or the input ends.

    Stand-ins answer by the script; without one, the providers of this environment answer.
    """
    if script is not None:
        _show_lines(conversation.load(script))
    folder = stack.new_folder()
    async with AsyncExitStack() as stack_of_parts:
        environment = settings_module.environment()
        if script is not None:
            url = await stack_of_parts.enter_async_context(_stand_ins(folder, script))
            environment = stack.clean_environment() | stack.provider_settings(url)
            environment["VOICEFLEET_CALENDAR_FILE"] = str(folder / "calendar.sqlite3")
        print("The agent starts; Ctrl-D hangs up.", flush=True)
        door = await stack_of_parts.enter_async_context(typed_line.listening())
        process = processes.start(
            "agent",
            processes.python("livekit.agents", "console", hosted.source, *door.arguments),
            environment=environment,
            folder=folder,
            cwd=Path.cwd() if script is None else folder,
        )
        stack_of_parts.push_async_callback(processes.stop, process)
        line = await _answered(door, process)
        stack_of_parts.push_async_callback(line.aclose)
        await _talk(line)
    # Only after success: an error names the logs.
    shutil.rmtree(folder)
    return ExitCode.OK


def _show_lines(known: Conversation) -> None:
    print("The stand-in model knows these lines:")
    print("\n".join(f"  {exchange.caller}" for exchange in known.exchanges), flush=True)


@asynccontextmanager
async def _stand_ins(folder: Path, script: str) -> AsyncIterator[str]:
    process, url = await stack.start_providers(folder, script)
    try:
        yield url
    finally:
        await processes.stop(process)


async def _answered(door: Door, process: Running) -> TypedLine:
    """The agent's line, once it has answered.

    :raises ToolError: if it does not answer, with the last lines of its process's log.
    """
    answering = asyncio.ensure_future(door.answered(_tell))
    try:
        async with asyncio.timeout(CONNECTED_WITHIN_SECONDS):
            while not answering.done():
                await asyncio.wait({answering}, timeout=processes.LOOK_EVERY_SECONDS)
                if not processes.is_alive(process):
                    raise processes.failed(process, "ended before it answered")
            line = answering.result()
            await line.open()
    except (TimeoutError, RuntimeError):
        raise processes.failed(process, "did not answer") from None
    finally:
        answering.cancel()
    return line


async def _talk(line: TypedLine) -> None:
    """Say each line that is typed, until the input or the call ends."""
    typed = _typed_lines()
    cut = asyncio.ensure_future(line.cut.wait())
    try:
        while not cut.done():
            print(f"{'you':<{MARGIN}}", end="", flush=True)
            next_line = asyncio.ensure_future(typed.get())
            await asyncio.wait({next_line, cut}, return_when=asyncio.FIRST_COMPLETED)
            if not next_line.done() or (text := next_line.result()) is None:
                next_line.cancel()
                break
            if not sys.stdin.isatty():
                # A terminal shows what is typed.
                print(text.strip(), flush=True)
            if text.strip():
                await line.say(text.strip())
    finally:
        cut.cancel()
    print("\nthe agent has ended the call" if line.cut.is_set() else "")


def _typed_lines() -> "asyncio.Queue[str | None]":
    """The lines of this process's input as they come; None after the last."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for text in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, text)
        loop.call_soon_threadsafe(lines.put_nowait, None)

    # A daemon, because only the end of the process ends a read from a terminal.
    threading.Thread(target=read, name="typed lines", daemon=True).start()
    return lines


def _tell(what: str, words: str) -> None:
    print(f"\r{what:<{MARGIN}}{words}", flush=True)


def _aloud(settings: Settings, hosted: AgentFile) -> int:
    _require_a_sound_card()
    server = pod.build(settings_module.for_development(settings), hosted).server
    sys.argv = ["voicefleet", "console"]
    # LiveKit announces that its Python console will move to another program.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        livekit_cli.run_app(server)
    return ExitCode.OK


def _require_a_sound_card() -> None:
    """LiveKit's console would end without a message.

    :raises ToolError: if there is no sound card.
    """
    try:
        sound = import_module("sounddevice")
    except OSError as error:
        raise errors.ToolError(
            f"LiveKit's console needs PortAudio, and it is not on this machine: {error}",
            fix="apt-get install libportaudio2, or brew install portaudio",
        ) from error
    for kind, name in (("input", "microphone"), ("output", "loudspeaker")):
        try:
            sound.query_devices(kind=kind)
        except sound.PortAudioError as error:
            raise errors.ToolError(
                f"there is no {name} on this machine: {error}",
                fix="connect one, or type: give --keys instead of --voice",
            ) from error

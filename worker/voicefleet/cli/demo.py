"""`demo`: a real call on this machine, without keys."""

import shutil
from typing import Annotated

import typer

from voicefleet import command, errors
from voicefleet.cli import loading, signals
from voicefleet.errors import ExitCode
from voicefleet.lab import conversation, stack


def demo(  # noqa: PLR0913 # each is an option of the command line
    agent: Annotated[
        str,
        typer.Option(
            help=f"One of {', '.join(conversation.shipped_names())}; or yours, a path or a module,"
            " with --conversation."
        ),
    ] = "assistant",
    script: Annotated[
        str | None,
        typer.Option(
            "--conversation", help="What caller and stand-in model say: the path of a .toml file."
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack up afterwards.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the stack that --keep left.")] = False,
    kill: Annotated[
        bool,
        typer.Option("--kill", help="Kill the call's process in its second answer: it goes on."),
    ] = False,
    trace: Annotated[
        bool, typer.Option("--trace", help="Show the call's trace and metrics at the end.")
    ] = False,
    behaviour: Annotated[
        list[str] | None,
        typer.Option(help="Of a stand-in, as deepgram:latency_seconds=0.3; repeatable."),
    ] = None,
) -> int:
    """Start a real livekit-server, stand-ins for the providers and a worker, and call the agent.

    Ends with 0 only if the caller understood the agent and the agent the caller.
    """
    if stop:
        return signals.run(_stop())
    if (earlier := stack.saved(stack.state_file())) is not None:
        raise errors.UsageError(
            f"the stack of an earlier demo is still up, with its logs in {earlier.folder}",
            fix=command.line("demo", "--stop"),
        )
    with loading.shown():
        # Not above: a caller takes seconds to import, and --stop needs none.
        from voicefleet.cli import demo_call

    called = demo_call.called(agent, script)
    wanted = demo_call.Wanted(called, tuple(behaviour or ()), keep, kill, trace)
    return signals.run(demo_call.hold(wanted))


async def _stop() -> int:
    up = stack.saved(stack.state_file())
    if up is None:
        typer.echo("no stack is up")
        return ExitCode.OK
    await stack.down(up, typer.echo)
    stack.state_file().unlink()
    shutil.rmtree(up.folder, ignore_errors=True)
    typer.echo("the stack is down, nothing is left running")
    return ExitCode.OK

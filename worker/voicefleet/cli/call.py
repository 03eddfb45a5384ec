"""`call`: place a real call, as a caller would; also the probe of a fleet in production."""

import json
from typing import Annotated

import typer

from voicefleet import errors
from voicefleet import settings as settings_module
from voicefleet.cli import report, signals
from voicefleet.errors import ExitCode
from voicefleet.lab import caller, stack, timeline
from voicefleet.lab import conversation as conversations
from voicefleet.lab.caller import CallPlan
from voicefleet.settings.livekit import LIVEKIT_ACCESS, LiveKit


def call(
    agent: Annotated[
        str | None,
        typer.Argument(help="The agent's name in dispatches; without, whoever has no name comes."),
    ] = None,
    conversation: Annotated[
        str | None, typer.Option(help="A conversation that ships, or the path of a .toml file.")
    ] = None,
    say: Annotated[list[str] | None, typer.Option(help="A line to say; repeat for more.")] = None,
    expect: Annotated[
        list[str] | None, typer.Option(help="What the agent should answer to the line, whole.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to join, and for each answer.")] = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the timeline as JSON.")] = False,
) -> int:
    """Call an agent at LIVEKIT_URL, talk with it, and say how it went.

    Ends with 80 if no agent came, and with 81 if one side did not understand the other.
    """
    settings = settings_module.load().require(*LIVEKIT_ACCESS)
    if bool(conversation) == bool(say):
        given = "both are" if conversation else "neither is"
        raise errors.UsageError(
            f"a call needs --conversation or --say, and {given} given",
            fix='give one of them, as --say "Hello."',
        )
    script = (
        conversations.load(conversation)
        if conversation
        else caller.plan_from_lines(say or [], expect or [])
    )
    url, key, secret = credentials(settings.livekit)
    plan = CallPlan(
        *(url, key, secret, agent or settings.agent.name or "", script),
        join_timeout_seconds=timeout,
        answer_timeout_seconds=timeout,
    )
    return signals.run(_place(plan, as_json=as_json))


def credentials(livekit: LiveKit) -> tuple[str, str, str]:
    """URL, key and secret, of settings that have all three."""
    return livekit.url or "", livekit.api_key or "", livekit.secret or ""


def _explained(problem: errors.CallError, plan: CallPlan) -> errors.CallError:
    """Where the stand-ins of a demo answer, they know only their own lines."""
    up = stack.saved(stack.state_file())
    if up is None or up.url != plan.url:
        return problem
    known = f"say what the stand-ins know (--conversation {up.conversation})"
    return type(problem)(
        problem.problem,
        fix=f"{known}; or {problem.fix}; the logs of the stack and its own worker: {up.folder}",
    )


async def _place(plan: CallPlan, *, as_json: bool) -> int:
    """Place the call, print it while it goes on, and judge it.

    :raises CallError: if no agent came, or one side did not understand the other.
    """
    on_event = None if as_json else report.printer()
    done = await caller.place_call(plan, on_event=on_event)
    if as_json:
        print(json.dumps(done.to_json(), indent=2))
    else:
        print(f"\n{report.conversation(done)}")
    problem = timeline.verdict(done)
    if problem is not None:
        raise _explained(problem, plan)
    return ExitCode.OK

"""The call of a demo: the stack that it needs, its conversation in words, and how to go on."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from voicefleet import command, errors
from voicefleet import settings as settings_module
from voicefleet.cli import report
from voicefleet.errors import ExitCode
from voicefleet.job import agent_file
from voicefleet.lab import (
    caller,
    conversation,
    livekit_server,
    otlp_receiver,
    recognition,
    stack,
    timeline,
    worker_log,
)
from voicefleet.lab.caller import CallPlan
from voicefleet.lab.conversation import Conversation
from voicefleet.lab.killing import Killing
from voicefleet.lab.otlp_receiver import OtlpReceiver
from voicefleet.lab.stack import Stack
from voicefleet.lab.timeline import Event, EventKind, Timeline

# The pod ends its own span when the call's process has ended, and sends every few seconds.
TRACE_WITHIN_SECONDS = 20.0

LOG_OF_THE_WORKER = "worker.log"
LOOK_INTO_IT_EVERY_SECONDS = 0.5

# A caller who hears an agent go says what became of the call.
CALLER_NOTICES_SECONDS = 5.0

# Into the second answer: some of it was heard.
KILLED_AFTER_SECONDS = 2.0

# Plugins that ask the real provider unless they are told of another, as an agent reports an error.
ASK_THE_REAL = ("livekit.plugins.deepgram", "livekit.plugins.cartesia")

HOW_TO_GO_ON = """
The stack is still up, with its logs in {folder}. What uses it needs its environment:
{environment}
To call it again:
  {command} call {agent} --conversation {conversation}
To host an agent of yours beside it, with a name of its own (docs/your-agent-without-keys.md):
  VOICEFLEET_AGENT=path/to/agent.py {command} start
Its stand-ins answer what {conversation} says, and nothing else. For a talk of yours, begin with it:
  {command} demo --keep --agent path/to/agent.py --conversation path/to/talk.toml
To stop it, which deletes the logs; a terminal with its environment is of no use then:
  {command} demo --stop"""


@dataclass(frozen=True, slots=True)
class Called:
    """Whom to call, as VOICEFLEET_AGENT, and by which conversation: its name or its whole path."""

    agent: str
    conversation: str
    is_own: bool = False

    def uncalled_tools(self, script: Conversation, done: Timeline) -> errors.CallError | None:
        """What to say of a tool that your conversation names and your agent has not called."""
        named = {tool.name for exchange in script.exchanges for tool in exchange.tools}
        called = {name for turn in done.turns for name in turn.tools}
        missing = named - called
        if not self.is_own or not missing:
            return None
        return errors.NotUnderstoodError(
            f"the agent has not called {', '.join(sorted(missing))}, as {self.conversation} says",
            fix="name its tools as the agent file does; it has called"
            f" {', '.join(sorted(called)) or 'none'}",
        )

    def explained(self, problem: errors.CallError, folder: Path) -> errors.CallError:
        """The problem, with what the worker's log and the agent's own account tell of it."""
        fix = problem.fix
        if raised := worker_log.raised_by(self.agent, folder / LOG_OF_THE_WORKER):
            fix = f"mend what that line does; the whole log is {folder / LOG_OF_THE_WORKER}"
            return type(problem)(f"{self.agent} raised {raised}", fix=fix)
        if isinstance(problem, errors.NoAgentError):
            fix = "see why in the worker's log"
        elif self.is_own and (real := [n for n in ASK_THE_REAL if n in problem.problem]):
            whom = " and ".join(real)
            fix = f"have {whom} ask the stand-ins, as docs/your-agent-without-keys.md shows"
        return type(problem)(problem.problem, fix=f"{fix}; the logs are in {folder}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line."""

    called: Called
    behaviours: tuple[str, ...]
    keeps: bool
    kills: bool
    is_traced: bool


def called(agent: str, script: str | None) -> Called:
    """The worker has a folder of its own, so a path is made whole.

    :raises UsageError: if there is no conversation for this agent.
    :raises AgentFileError: if a file of yours cannot be hosted.
    """
    if script is not None:
        # What is wrong with it is told before anything is up.
        agent_file.load(agent)
        path = Path(agent)
        agent = str(path.resolve()) if path.suffix == ".py" else agent
        return Called(agent, whole_path(script), is_own=True)
    if agent in conversation.shipped_names() or agent.endswith(".toml"):
        script = whole_path(agent)
        return Called(conversation.load(script).agent, script)
    raise errors.UsageError(
        f"nobody knows what to say to {agent!r}",
        fix="give --conversation FILE, as docs/your-agent-without-keys.md shows; agents with one of"
        f" their own: {', '.join(conversation.shipped_names())}",
    )


def whole_path(script: str) -> str:
    """The conversation as a process in another folder finds it.

    :raises UsageError: if it is yours, and cannot be understood.
    """
    if not script.endswith(".toml"):
        return script
    recognition.require_pronounceable(script)
    return str(Path(script).resolve())


async def hold(wanted: Wanted) -> int:
    """The exit code of a demo.

    :raises CallError: if the two did not understand each other.
    """
    if not wanted.is_traced:
        return await _demo(wanted)
    async with otlp_receiver.listening() as receiver:
        return await _demo(wanted, receiver)


async def _demo(wanted: Wanted, receiver: OtlpReceiver | None = None) -> int:
    called = wanted.called
    script = conversation.load(called.conversation)
    binary = settings_module.load().lab.livekit_server_bin
    server = await livekit_server.obtain(binary=binary, progress=_say)

    _say("the stack, in seconds since its start")
    folder = stack.new_folder()
    extra = (("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url),) if receiver else ()
    plan = stack.Plan(called.agent, called.conversation, folder, server, wanted.behaviours, extra)
    up = await stack.up(plan, _say_part)
    stays_up = has_logs_to_read = False
    try:
        _say("\nthe call, in seconds since the dispatch")
        call = CallPlan(up.url, up.api_key, up.api_secret, up.agent_name, script)
        try:
            killing = _killing(up) if wanted.kills else None
            done = await _hold(call, folder / LOG_OF_THE_WORKER, killing)
            _say(f"\nthe conversation, as both sides heard it\n{report.conversation(done)}")
            if killing is not None:
                _say(_gap(killing, done))
            problem = timeline.verdict(done) or called.uncalled_tools(script, done)
            if problem is not None:
                raise problem
        except errors.CallError as error:
            has_logs_to_read = True
            raise called.explained(error, folder) from None
        if receiver is not None:
            _say(await _trace_and_metrics(receiver, up))
        stays_up = wanted.keeps
    finally:
        if not stays_up:
            await stack.down(up)
            _say("\nthe stack is down, nothing is left running")
        if not (stays_up or has_logs_to_read):
            shutil.rmtree(folder)

    if stays_up:
        stack.save(up, stack.state_file())
        _say(_how_to_go_on(up, called.conversation))
    return ExitCode.OK


def _killing(up: Stack) -> Killing:
    worker = next(part for part in up.parts if part.name == "worker")
    second_answer = (EventKind.AGENT_SPEAKS, 2, KILLED_AFTER_SECONDS)

    def told(at_seconds: float) -> None:
        killed = Event(at_seconds, EventKind.KILLED, "the process of the call")
        _say(report.event(killed))

    return Killing(worker.pid, up.url, *second_answer, told=told)


def _gap(killing: Killing, done: Timeline) -> str:
    silence_seconds = killing.silence_seconds(done)
    if silence_seconds is None:
        return "  no process of the call was killed, or the agent has not spoken since"
    return f"  its process was killed; {silence_seconds:.2f} s later another began the answer anew"


async def _hold(call: CallPlan, log: Path, killing: Killing | None) -> Timeline:
    """The call; it ends where the worker says that it has failed.

    :raises CallError: as `place_call`, or if the agent has failed and the caller still waits.
    """
    printed = report.printer()

    def on_event(event: Event) -> None:
        printed(event)
        if killing is not None:
            killing(event)

    calling = asyncio.create_task(caller.place_call(call, on_event=on_event))
    failing = asyncio.create_task(_has_failed(log))
    try:
        await asyncio.wait({calling, failing}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({calling}, timeout=CALLER_NOTICES_SECONDS if failing.done() else None)
        if calling.done():
            return await calling
        raise errors.NoAgentError("the agent failed before it was in the room", fix="")
    finally:
        failing.cancel()
        calling.cancel()
        await asyncio.gather(failing, calling, return_exceptions=True)


async def _has_failed(log: Path) -> None:
    while True:
        await asyncio.sleep(LOOK_INTO_IT_EVERY_SECONDS)
        if worker_log.failed_calls(log):
            return


async def _trace_and_metrics(receiver: OtlpReceiver, up: Stack) -> str:
    """The trace of the one call, and what the pod has counted.

    :raises ToolError: if the pod's span of the call does not come.
    """
    try:
        root = await receiver.wait_for(lambda span: span.name == "call", TRACE_WITHIN_SECONDS)
    except TimeoutError:
        raise errors.ToolError(
            f"no trace of the call came within {TRACE_WITHIN_SECONDS:g} s",
            fix=f"see the worker's log in {up.folder}",
        ) from None
    spans = receiver.trace(root.trace_id)
    title = f"the trace {root.trace_id}: start, length, what ({len(spans)} spans)"
    metrics = await _metrics(endpoints_url(up))
    return f"\n{title}\n{otlp_receiver.tree(spans)}\n\nthe metrics of the pod\n{metrics}"


async def _metrics(url: str) -> str:
    """Our metrics that are not zero, without the buckets of histograms."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/metrics") as response,
    ):
        text = await response.text()
    lines = [line for line in text.splitlines() if line.startswith("voicefleet_")]
    shown = [line for line in lines if "_bucket{" not in line and not line.endswith(" 0.0")]
    return "\n".join(f"  {line}" for line in shown)


def endpoints_url(up: Stack) -> str:
    """Where the worker's endpoints listen, as its log says."""
    return f"http://127.0.0.1:{worker_log.port(up.folder / LOG_OF_THE_WORKER)}"


def _how_to_go_on(up: Stack, conversation_name: str) -> str:
    # How many calls a worker of yours takes is its own.
    settings = {n: v for n, v in stack.settings_of(up).items() if n != "VOICEFLEET_SLOTS"}
    given = (f"  export {name}={value}" for name, value in settings.items())
    return HOW_TO_GO_ON.format(
        folder=up.folder,
        environment="\n".join(given),
        command=command.line(),
        agent=up.agent_name,
        conversation=conversation_name,
    )


def _say(line: str) -> None:
    print(line, flush=True)


def _say_part(seconds: float, name: str, detail: str) -> None:
    _say(f"{seconds:7.2f} s  {name:<14} {detail}")

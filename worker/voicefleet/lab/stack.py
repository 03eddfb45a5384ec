"""The whole stack on one machine: livekit-server, the providers' stand-ins, and the worker.

Each is a process of its own, with a log in one folder. The worker is started as an operator would,
by `voicefleet start` and an environment; the lab knows nothing of its inside.
"""

import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from voicefleet import settings as settings_module
from voicefleet.lab import livekit_server, processes
from voicefleet.lab.livekit_server import LiveKitServer
from voicefleet.lab.processes import Running

READY_WITHIN_SECONDS = 90.0
KEY = "lab"
"""The key that every stand-in takes; any other is refused, as the real ones do."""

Say = Callable[[float, str, str], None]
"""Told of each part that is up: seconds since the start, its name, and what to know of it."""


PROVIDERS_URL = "$PROVIDERS_URL"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start. `agent` is a value of VOICEFLEET_AGENT; `conversation` a name or a path. In
    `extra`, settings of the worker, PROVIDERS_URL is put in for the address of the stand-ins.
    """

    agent: str
    conversation: str
    folder: Path
    binary: Path
    behaviour: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack: where LiveKit is, where the stand-ins are, and what to end."""

    url: str
    api_key: str
    api_secret: str
    providers_url: str
    agent_name: str
    conversation: str
    folder: Path
    parts: tuple[Running, ...]


@asynccontextmanager
async def run(plan: Plan, say: Say) -> AsyncIterator[Stack]:
    """The stack for as long as the block lasts."""
    stack = await up(plan, say)
    try:
        yield stack
    finally:
        await down(stack)


async def up(plan: Plan, say: Say) -> Stack:
    """Start everything, in order, and return when the worker is ready for calls.

    :raises ToolError: if a part does not come up; what had come up is ended again.
    """
    began = time.monotonic()
    parts: list[Running] = []

    def tell(name: str, detail: str) -> None:
        say(time.monotonic() - began, name, detail)

    try:
        livekit = await livekit_server.start(plan.binary, plan.folder)
        parts.append(livekit.process)
        version = await livekit_server.version_of(plan.binary)
        tell("livekit-server", f"{livekit.url} ({version}, loopback only)")

        starting = start_providers(plan.folder, plan.conversation, plan.behaviour)
        providers, providers_url = await starting
        parts.append(providers)
        tell("providers", f"{providers_url} (stand-ins for Deepgram, OpenAI, Cartesia)")

        environment = worker_environment(plan, livekit, providers_url)
        start = processes.python("voicefleet", "start")
        worker = processes.start("worker", start, environment=environment, folder=plan.folder)
        parts.append(worker)
        line = await processes.wait_for_line(
            worker, lambda line: '"ready for calls"' in line, within_seconds=READY_WITHIN_SECONDS
        )
        agent_name = str(json.loads(line)["agent_name"])
        called = f"as {agent_name!r}" if agent_name else "without a name"
        tell("worker", f"ready, hosts {plan.agent} {called}")
    except BaseException:
        await _end(parts)
        raise
    return Stack(
        *(livekit.url, livekit.api_key, livekit.api_secret, providers_url, agent_name),
        conversation=plan.conversation,
        folder=plan.folder,
        parts=tuple(parts),
    )


async def down(stack: Stack, say: Callable[[str], object] = lambda _: None) -> None:
    """End every part, the last one started first; `say` is told of each before it is waited for."""
    await _end(stack.parts, say)


async def _end(parts: Sequence[Running], say: Callable[[str], object] = lambda _: None) -> None:
    for part in reversed(parts):
        say(f"ending {part.name}")
        await processes.stop(part)


async def start_providers(
    folder: Path, conversation: str, behaviour: Sequence[str] = ()
) -> tuple[Running, str]:
    """The stand-ins as a process of their own, and their address."""
    running = processes.start(
        "providers",
        processes.python(
            "voicefleet.lab.providers",
            *("--port", "0", "--key", KEY, "--conversation", conversation),
            *(word for text in behaviour for word in ("--behaviour", text)),
        ),
        environment=clean_environment(),
        folder=folder,
    )
    line = await processes.wait_for_line(
        running, lambda line: "http://127.0.0.1:" in line, within_seconds=READY_WITHIN_SECONDS
    )
    return running, "http://" + line.partition("http://")[2].split()[0].rstrip("/")


def worker_environment(plan: Plan, livekit: LiveKitServer, providers_url: str) -> dict[str, str]:
    """What a worker needs to serve the stand-ins: exactly what an operator would set."""
    calendar = str(plan.folder / "calendar.sqlite3")
    its_own = {"VOICEFLEET_AGENT": plan.agent, "VOICEFLEET_CALENDAR_FILE": calendar}
    # The worker has a folder of its own, and the agent may be a module in this one.
    path = [str(Path.cwd()), settings_module.environment().get("PYTHONPATH", "")]
    its_own["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    extra = {name: value.replace(PROVIDERS_URL, providers_url) for name, value in plan.extra}
    return clean_environment() | _settings(livekit, providers_url) | its_own | extra


def operator_environment(stack: Stack) -> dict[str, str]:
    """What another process needs beside the stack's worker: `check`, `call`, a second pod."""
    return clean_environment() | settings_of(stack)


def settings_of(stack: Stack) -> dict[str, str]:
    """The same without the rest of an environment: LiveKit, and the stand-ins with their keys."""
    return _settings(stack, stack.providers_url)


def _settings(livekit: LiveKitServer | Stack, providers_url: str) -> dict[str, str]:
    return {
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": livekit.api_key,
        "LIVEKIT_API_SECRET": livekit.api_secret,
        **provider_settings(providers_url),
    }


def provider_settings(providers_url: str) -> dict[str, str]:
    return {
        "VOICEFLEET_HTTP_PORT": "0",
        "VOICEFLEET_SLOTS": "2",
        "VOICEFLEET_DEEPGRAM_URL": f"{providers_url}/deepgram/v1/listen",
        "OPENAI_BASE_URL": f"{providers_url}/openai/v1",
        "VOICEFLEET_CARTESIA_URL": f"{providers_url}/cartesia",
        "DEEPGRAM_API_KEY": KEY,
        "OPENAI_API_KEY": KEY,
        "CARTESIA_API_KEY": KEY,
    }


def clean_environment() -> dict[str, str]:
    """This process's environment without any setting of ours, so that no key of yours is used."""
    declared = settings_module.declared()
    return {k: v for k, v in settings_module.environment().items() if k not in declared}


def new_folder() -> Path:
    """A folder for the logs of one stack, beside livekit-server's own cache."""
    cache = livekit_server.default_cache()
    cache.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="stack-", dir=cache))


def state_file() -> Path:
    """Where a stack that was left up is written down."""
    return livekit_server.default_cache() / "stack.json"


def save(stack: Stack, path: Path) -> None:
    """Write what is needed to end the stack later; the file holds a secret, so it is private."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(asdict(stack), default=str, indent=2), encoding="utf-8")


def saved(path: Path) -> Stack | None:
    """The stack that `save` wrote, or None where there is none."""
    if not path.is_file():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    parts = tuple(Running(**part | {"log": Path(part["log"])}) for part in document.pop("parts"))
    return Stack(**document | {"folder": Path(document["folder"])}, parts=parts)

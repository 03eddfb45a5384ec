"""The demo as a visitor has it: one command, the stack left up if asked, nothing left if not."""

import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from voicefleet.errors import ExitCode
from voicefleet.lab import processes, stack

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
WITHOUT_KEYS = (ROOT / "docs" / "your-agent-without-keys.md").read_text(encoding="utf-8")


RAISES = """
from livekit.agents import AgentServer, JobContext

server = AgentServer()

@server.rtc_session()
async def entry(ctx: JobContext) -> None:
    await ctx.conect()
"""


IN_A_PACKAGE = """
from livekit.agents import Agent, AgentServer, AgentSession, JobContext

from voicefleet import build_session

from .words import INSTRUCTIONS

server = AgentServer()

@server.rtc_session()
async def entry(ctx: JobContext) -> None:
    session = build_session(ctx.proc)
    await session.start(Agent(instructions=INSTRUCTIONS), room=ctx.room)
    session.say("Hello, this is the city library.")
"""

TALK = """
agent = "agent.py"
greeting = "Hello, this is the city library."

[[exchange]]
caller = "That is all I wanted to know. Goodbye."
agent = "Thank you for calling. Goodbye."
"""


def environment(home: Path, binary: Path) -> dict[str, str]:
    return stack.clean_environment() | {"HOME": str(home), "LIVEKIT_SERVER_BIN": str(binary)}


def demo(home: Path, binary: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        processes.python("voicefleet", "demo", *options),
        env=environment(home, binary),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=170,
    )


def test_a_kept_stack_can_be_called_again_and_is_gone_when_stopped(
    tmp_path: Path, livekit_server_binary: Path
) -> None:
    kept = demo(tmp_path, livekit_server_binary, "--keep")
    assert kept.returncode == ExitCode.OK, kept.stdout + kept.stderr
    (state,) = tmp_path.rglob("stack.json")
    up = stack.saved(state)
    assert up is not None
    try:
        assert all(processes.is_alive(part) for part in up.parts)
        again = demo(tmp_path, livekit_server_binary)
        assert again.returncode == ExitCode.USAGE
        assert "demo --stop" in again.stderr
        assert re.search(r"voicefleet call assistant --conversation assistant", kept.stdout)
    finally:
        stopped = demo(tmp_path, livekit_server_binary, "--stop")
    assert stopped.returncode == ExitCode.OK
    assert not any(psutil.pid_exists(part.pid) for part in up.parts)
    assert not state.exists()


def test_the_agent_of_the_documents_is_called_without_a_key_as_they_say(
    tmp_path: Path, livekit_server_binary: Path
) -> None:
    for language, name in (("python", "agent.py"), ("toml", "talk.toml")):
        (block,) = re.findall(rf"^```{language}\n(.*?)^```", WITHOUT_KEYS, re.M | re.S)
        (tmp_path / name).write_text(block)
    (command,) = re.findall(r"^\.venv/bin/voicefleet demo (--agent agent.+)$", WITHOUT_KEYS, re.M)
    done = demo(tmp_path, livekit_server_binary, *command.split())
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    assert "called price" in done.stdout
    # What is said to it has to be known, and a path is seen from here.
    nobody = demo(tmp_path, livekit_server_binary, "--agent", "agent.py")
    assert nobody.returncode == ExitCode.USAGE
    assert "give --conversation FILE" in nobody.stderr


def test_a_package_is_called_by_its_module_from_its_folder(
    tmp_path: Path, livekit_server_binary: Path
) -> None:
    """The worker of the stack has a folder of its own, and did not find it."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "words.py").write_text('INSTRUCTIONS = "Be brief."\n')
    (tmp_path / "shop" / "agent.py").write_text(IN_A_PACKAGE)
    (tmp_path / "talk.toml").write_text(TALK)
    done = demo(
        tmp_path, livekit_server_binary, "--agent", "shop.agent", "--conversation", "talk.toml"
    )
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr


def test_an_agent_file_that_raises_is_told_with_its_error_and_line(
    tmp_path: Path, livekit_server_binary: Path
) -> None:
    """It was called for 20 s, and then "no agent joined"."""
    (tmp_path / "agent.py").write_text(RAISES)
    (tmp_path / "talk.toml").write_text(TALK)
    told = demo(
        tmp_path, livekit_server_binary, "--agent", "agent.py", "--conversation", "talk.toml"
    )
    assert told.returncode == ExitCode.NO_AGENT
    assert "AttributeError: 'JobContext' object has no attribute 'conect'" in told.stderr
    assert "(line 8)" in told.stderr
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_takes_its_stack_down(
    tmp_path: Path, livekit_server_binary: Path, number: signal.Signals
) -> None:
    running = subprocess.Popen(
        processes.python("voicefleet", "demo"),
        env=environment(tmp_path, livekit_server_binary),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert any("agent joined" in line for line in running.stdout)
    assert len(left_over(tmp_path)) > 3
    running.send_signal(number)
    running.stdout.read()
    running.stdout.close()
    assert running.wait(timeout=60) == ExitCode.INTERRUPTED
    assert left_over(tmp_path) == []


def test_a_stack_that_cannot_start_leaves_nothing_running(
    tmp_path: Path, livekit_server_binary: Path
) -> None:
    failed = demo(tmp_path, livekit_server_binary, "--behaviour", "deepgram:fault=unheard-of")
    assert failed.returncode == ExitCode.TOOL
    assert failed.stderr.startswith("error: providers ended while it started")
    assert left_over(tmp_path) == []


def left_over(home: Path) -> list[psutil.Process]:
    """Processes that run in the folder of this demo."""
    return [process for process in psutil.process_iter() if _is_ours(process, home)]


def _is_ours(process: psutil.Process, home: Path) -> bool:
    try:
        return process.cwd().startswith(str(home))
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False

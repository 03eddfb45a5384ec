"""The command and the package have one name, and no file in a user's folder takes it from them.
Each layout below is one that people have, and both commands check it in a folder of its own.
"""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from voicefleet.lab import stack

COMMANDS = {
    "voicefleet": [str(Path(sys.executable).with_name("voicefleet"))],
    "python -m voicefleet": [sys.executable, "-m", "voicefleet"],
}
each_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)

AGENT = """\
from livekit.agents import AgentServer, JobContext
{imports}

server = AgentServer()


@server.rtc_session(agent_name="{name}")
async def answer(ctx: JobContext) -> None:
    pass
"""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def agent(name: str, imports: str = "") -> str:
    return AGENT.format(name=name, imports=imports)


def run(command: list[str], *arguments: str, folder: Path, agent_file: str = "") -> str:
    """What a verb prints, from that folder."""
    environment = stack.clean_environment()
    environment.pop("PYTHONPATH", None)
    # What fails at once, or is quick to check, but for the agent file.
    environment |= {"VOICEFLEET_TURN_DETECTION": "vad", "VOICEFLEET_HTTP_PORT": "0"}
    if agent_file:
        environment["VOICEFLEET_AGENT"] = agent_file
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


# Layout → its files, and what VOICEFLEET_AGENT says. Each agent is called "mine".
LAYOUTS: dict[str, tuple[dict[str, str], str]] = {
    "an agent file called worker.py": ({"worker.py": agent("mine")}, "worker.py"),
    "a package called worker beside the agent": (
        {
            "worker/__init__.py": "",
            "worker/prices.py": "PRICE = 1\n",
            "agent.py": agent("mine", "from worker.prices import PRICE"),
        },
        "agent.py",
    ),
    "a package with relative imports, as a path": (
        {
            "shop/__init__.py": "",
            "shop/prices.py": "PRICE = 1\n",
            "shop/agent.py": agent("mine", "from .prices import PRICE"),
        },
        "shop/agent.py",
    ),
    "a package with relative imports, as a module": (
        {
            "shop/__init__.py": "",
            "shop/prices.py": "PRICE = 1\n",
            "shop/agent.py": agent("mine", "from .prices import PRICE"),
        },
        "shop.agent",
    ),
    "a module of one word": ({"myagent.py": agent("mine")}, "myagent"),
    "an agent file and modules called as ours": (
        {
            "settings.py": agent("mine", "import agents, cli, errors, logging_, telemetry"),
            "agents/__init__.py": "",
            "cli.py": "",
            "errors.py": "",
            "logging_.py": "",
            "telemetry.py": "",
        },
        "settings.py",
    ),
    "a repository copied whole": (
        {
            "worker/__init__.py": "",
            "worker/settings.py": "PRICE = 1\n",
            "worker/agent.py": agent("mine", "from worker.settings import PRICE"),
            "tests/__init__.py": "",
            "tests/test_agent.py": "raise RuntimeError('not to be imported')\n",
            "deploy/__init__.py": "raise RuntimeError('not to be imported')\n",
            "pyproject.toml": "",
        },
        "worker/agent.py",
    ),
}


@pytest.mark.slow
@each_command
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_agent_of_each_layout_is_found(tmp_path: Path, command: list[str], layout: str) -> None:
    """The package was called worker: worker.py made `python -m worker` run the user's file, and a
    folder worker/ beside the agent broke both commands.
    """
    files, named = LAYOUTS[layout]
    write(tmp_path, files)
    shown = run(command, "check", folder=tmp_path, agent_file=named)
    assert f"ok    agent file: {named}, dispatched as 'mine'" in shown, shown


@pytest.mark.slow
@each_command
def test_a_shipped_agent_is_found_before_a_module_of_its_name(
    tmp_path: Path, command: list[str]
) -> None:
    write(tmp_path, {"assistant.py": agent("mine"), "assistant/__init__.py": agent("mine")})
    shown = run(command, "check", folder=tmp_path, agent_file="assistant")
    assert "ok    agent file: assistant, dispatched as 'assistant'" in shown, shown


@pytest.mark.slow
@each_command
def test_a_module_that_is_not_there_is_told_with_the_folder(
    tmp_path: Path, command: list[str]
) -> None:
    shown = run(command, "check", folder=tmp_path, agent_file="myagent")
    assert "FAIL  agent file: VOICEFLEET_AGENT is 'myagent', and there is no such module" in shown
    assert str(tmp_path) in shown


@each_command
def test_the_version_is_shown_in_a_folder_with_all_of_these_files(
    tmp_path: Path, command: list[str]
) -> None:
    for files, _ in LAYOUTS.values():
        write(tmp_path, files)
    expected = f"voicefleet {version('voicefleet')} (livekit-agents {version('livekit-agents')})\n"
    assert run(command, "--version", folder=tmp_path) == expected


def test_the_version_is_shown_without_an_import_of_livekit(tmp_path: Path) -> None:
    """It takes seconds."""
    probe = (
        "import sys; sys.argv = ['voicefleet', '--version']\n"
        "from voicefleet import __main__\n"
        "try: __main__.main()\n"
        "finally: print(sorted(m for m in sys.modules if m.startswith('livekit')))"
    )
    shown = run([sys.executable, "-c", probe], folder=tmp_path)
    assert shown.splitlines()[1:] == ["[]"]

"""The agent file: any that LiveKit can run is good, and what is wrong with one is said in words."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from livekit.agents import cli

from voicefleet import errors
from voicefleet.job import agent_file
from voicefleet.livekit_compat import server

STOCK = """
from livekit.agents import AgentServer, JobContext, JobProcess, JobRequest

server = AgentServer()

def prewarm(process: JobProcess) -> None:
    process.userdata["warm"] = True

server.setup_fnc = prewarm

async def accept(request: JobRequest) -> None:
    await request.accept()

async def bye(ctx: JobContext) -> None: ...

@server.rtc_session(agent_name="stock", on_request=accept, on_session_end=bye)
async def entrypoint(ctx: JobContext) -> None: ...
"""


@pytest.fixture(autouse=True)
def import_state() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def written(folder: Path, text: str, name: str = "phone_agent.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def refusal(name: str) -> errors.AgentFileError:
    with pytest.raises(errors.AgentFileError) as raised:
        agent_file.load(name)
    return raised.value


def test_a_stock_file_is_read_whole(tmp_path: Path) -> None:
    hosted = agent_file.load(written(tmp_path, STOCK))
    assert hosted.agent_name == "stock"
    assert hosted.entrypoint.__name__ == "entrypoint"
    assert hosted.on_request is not None
    assert hosted.on_session_end is not None
    assert hosted.setup is not None
    assert not hosted.uses_our_providers


def test_a_file_in_a_package_is_imported_by_its_full_name(tmp_path: Path) -> None:
    package = tmp_path / "clinic"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "rules.py").write_text("NAME = 'clinic'\n")
    text = STOCK.replace("server =", "from clinic.rules import NAME\nserver =", 1)
    assert agent_file.load(written(package, text)).entrypoint.__module__ == "clinic.phone_agent"


@pytest.mark.parametrize("name", ["assistant", "interview", "voicefleet.agents.assistant.agent"])
def test_agents_that_ship_are_known_by_name_and_by_module(name: str) -> None:
    assert agent_file.load(name).uses_our_providers


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("assistant", {"stt", "llm", "tts"}),
        ("transcriber", {"stt"}),
        ("realtime", {"realtime"}),
    ],
)
def test_a_file_wants_of_our_providers_what_it_imports(name: str, parts: set[str]) -> None:
    assert agent_file.load(name).parts == parts


@pytest.mark.parametrize(
    ("text", "problem", "fix"),
    [
        ("x = 1\n", "has no AgentServer", "rtc_session"),
        (
            "from livekit.agents import AgentServer\nserver = AgentServer()\n",
            "registers no session",
            "rtc_session",
        ),
        (
            STOCK + "\n@server.rtc_session()\nasync def second(ctx: JobContext) -> None: ...\n",
            "two sessions",
            "keep one",
        ),
        (STOCK + "\nother = AgentServer()\n", "2 AgentServers", "keep one"),
        ("import nowhere_to_be_found\n", "nowhere_to_be_found", "install nowhere_to_be_found"),
        ("\n\nraise ValueError('no key')\n", "no key (line 3)", "run the file"),
        ("def broken(:\n", "SyntaxError", "run the file"),
        ("import sys\nsys.exit(2)\n", "SystemExit", "__main__"),
    ],
)
def test_a_file_that_cannot_be_hosted_says_why_and_what_to_do(
    tmp_path: Path, text: str, problem: str, fix: str
) -> None:
    said = refusal(written(tmp_path, text))
    assert problem in said.problem
    assert fix in said.fix


@pytest.mark.parametrize("name", ["nobody", "no.such.module", "no/such/file.py"])
def test_what_is_not_there_is_answered_with_what_is(name: str) -> None:
    fix = refusal(name).fix
    assert all(shipped in fix for shipped in ("assistant", "interview"))


def test_a_file_whose_name_is_taken_asks_to_be_renamed(tmp_path: Path) -> None:
    assert "rename" in refusal(written(tmp_path, STOCK, name="json.py")).fix


OLDER = """
from livekit.agents import JobContext, JobProcess, JobRequest, WorkerOptions, cli

def prewarm(process: JobProcess) -> None: ...

async def accept(request: JobRequest) -> None:
    await request.accept()

async def entrypoint(ctx: JobContext) -> None: ...

options = dict(
    entrypoint_fnc=entrypoint, prewarm_fnc=prewarm, request_fnc=accept, agent_name="older"
)

def main() -> None:
    cli.run_app(WorkerOptions(**options))

"""


@pytest.mark.parametrize(
    "end",
    [
        'if __name__ == "__main__":\n    cli.run_app(WorkerOptions(**options))\n',
        "if '__main__' == __name__:\n    main()\n",
        "cli.run_app(WorkerOptions(**options))\n",
        "from livekit.agents.cli import run_app\nrun_app(WorkerOptions(**options))\n",
    ],
    ids=["guarded", "by a function", "unguarded", "imported"],
)
def test_a_file_of_the_older_style_is_hosted(tmp_path: Path, end: str) -> None:
    """Most files in the world look so; it was "has no AgentServer", or LiveKit's own worker ran."""
    hosted = agent_file.load(written(tmp_path, OLDER + end))
    assert hosted.agent_name == "older"
    assert hosted.entrypoint.__name__ == "entrypoint"
    assert hosted.on_request is not None
    assert hosted.on_request.__name__ == "accept"
    assert hosted.setup is not None
    assert hosted.setup.__name__ == "prewarm"
    assert server.replaced_options(hosted.server) == []


def test_a_server_whose_run_app_is_not_guarded_is_hosted_and_not_run(tmp_path: Path) -> None:
    text = STOCK + "\nfrom livekit.agents import cli\ncli.run_app(server)\n"
    assert agent_file.load(written(tmp_path, text)).agent_name == "stock"


def test_a_main_block_that_fails_says_so(tmp_path: Path) -> None:
    text = OLDER + 'if __name__ == "__main__":\n    run_app = {}["no such key"]\n'
    error = refusal(written(tmp_path, text))
    assert "what" in error.problem
    assert "KeyError: 'no such key'" in error.problem


def test_the_file_sees_the_run_app_of_livekit_again_afterwards(tmp_path: Path) -> None:
    before = cli.run_app
    agent_file.load(written(tmp_path, OLDER + "main()\n"))
    assert cli.run_app is before


def test_options_of_the_file_that_settings_replace_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were dropped in silence."""
    monkeypatch.setenv("LIVEKIT_URL", "ws://localhost:7880")
    options = "load_fnc=lambda: 0.1, drain_timeout=5, job_memory_limit_mb=900, port=9000"
    text = STOCK.replace("AgentServer()", f"AgentServer({options})")
    hosted = agent_file.load(written(tmp_path, text))
    assert server.replaced_options(hosted.server) == [
        "port",
        "load_fnc",
        "drain_timeout",
        "job_memory_limit_mb",
    ]
    assert server.replaced_options(agent_file.load(written(tmp_path, STOCK, "b.py")).server) == []


def test_a_one_word_name_is_an_agent_that_ships_or_else_a_module_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    written(tmp_path, STOCK, "my_desk.py")
    written(tmp_path, STOCK, "assistant.py")
    assert agent_file.load("my_desk").agent_name == "stock"
    assert agent_file.load("assistant").agent_name == "assistant"
    assert "no such module" in refusal("no_such_desk").problem


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("from livekit.plugins import no_such_voice", "livekit-plugins-no-such-voice"),
        ("import livekit.plugins.nobody", "livekit-plugins-nobody"),
        ("import no_such_package.inside", "no_such_package"),
    ],
)
def test_a_package_that_is_missing_is_named_as_it_is_installed(
    tmp_path: Path, line: str, package: str
) -> None:
    """LiveKit's own examples fail most often for a plugin, and the fix did not name it."""
    assert refusal(written(tmp_path, f"{line}\n")).fix.startswith(f"install {package},")

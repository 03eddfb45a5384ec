"""The command line: what goes wrong is an `error:` line, a `fix:` line and a code of the table."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from voicefleet import settings
from voicefleet.cli import app
from voicefleet.errors import EXIT_CODE_MEANINGS, ExitCode
from voicefleet.providers import turns
from voicefleet.telemetry import logs

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def quiet_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_help_shows_every_verb_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["--help"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in app.VERBS)
    assert all(f"{int(code)}  {text}" in shown for code, text in EXIT_CODE_MEANINGS.items())


def test_without_a_verb_the_help_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """It was an error, with the whole help on its one line."""
    assert app.run([]) == ExitCode.OK
    shown = capsys.readouterr()
    assert shown.out.startswith("Usage: voicefleet [OPTIONS] COMMAND")
    assert shown.err == ""


@pytest.mark.parametrize("verb", app.VERBS)
def test_the_help_of_a_verb_calls_the_command_by_its_name(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run([verb, "--help"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: voicefleet {verb} ")
    assert "python -m" not in shown
    assert "..." not in shown


def test_no_line_of_the_list_of_verbs_is_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    app.run(["--help"])
    shown = capsys.readouterr().out
    assert all(purpose in shown for purpose in app.VERBS.values())


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_verb_that_takes_long_to_load_says_so_at_a_terminal_and_leaves_no_line(
    is_seen: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_seen)
    assert app.run(["settings", "--help"]) == 0
    assert capsys.readouterr().err == ("loading ...\r\x1b[K" if is_seen else "")


def test_to_stop_a_demo_imports_no_caller() -> None:
    """It took six seconds to end four processes."""
    alone = "import sys, voicefleet.cli.demo; sys.exit('livekit.agents' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", alone], timeout=60).returncode == 0


def test_every_exit_code_has_its_meaning() -> None:
    assert set(EXIT_CODE_MEANINGS) == set(ExitCode)


@pytest.mark.parametrize("arguments", [["strat"], ["start", "--fast"], ["call", "--json", "--say"]])
def test_a_wrong_command_line_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(arguments) == ExitCode.USAGE
    error, fix = lines_of(capsys)
    assert error.startswith("error: ")
    assert fix == "fix: see --help"


def test_start_without_keys_names_each_that_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["start"]) == ExitCode.SETTINGS
    said = lines_of(capsys)
    assert [line.split()[1] for line in said if line.startswith("error:")] == [
        "LIVEKIT_URL",
        "LIVEKIT_API_KEY",
        "LIVEKIT_API_SECRET",
    ]


def test_start_of_an_agent_with_our_providers_names_each_missing_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.setenv(name, "ws://localhost:1")
    monkeypatch.setenv("VOICEFLEET_STT", "openai")
    assert app.run(["start"]) == ExitCode.SETTINGS
    said = lines_of(capsys)
    assert [line.split()[1] for line in said if line.startswith("error:")] == [
        "OPENAI_API_KEY",
        "CARTESIA_API_KEY",
    ]


def test_an_agent_file_that_is_not_there_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.setenv(name, "ws://localhost:1")
    monkeypatch.setenv("VOICEFLEET_AGENT", "elsewhere/agent.py")
    assert app.run(["start"]) == ExitCode.AGENT_FILE
    error, fix = lines_of(capsys)[-2:]
    assert "no such file" in error
    assert "assistant" in fix


def test_no_livekit_ends_the_start_with_its_own_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVEKIT_URL", "ws://127.0.0.1:9")
    monkeypatch.setenv("VOICEFLEET_LIVEKIT_WAIT_SECONDS", "0")
    for name in ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "DEEPGRAM_API_KEY"):
        monkeypatch.setenv(name, "x" * 32)
    for name in ("OPENAI_API_KEY", "CARTESIA_API_KEY"):
        monkeypatch.setenv(name, "x" * 32)
    assert app.run(["start"]) == ExitCode.LIVEKIT
    error, fix = lines_of(capsys)[-2:]
    assert "does not answer at ws://127.0.0.1:9" in error
    assert "LIVEKIT_URL" in fix


STOCK = """
from livekit.agents import AgentServer, JobContext
from livekit.plugins import deepgram, openai
{more}
server = AgentServer()

@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    print(deepgram.STT, openai.LLM)
"""


def test_check_doubts_a_file_whose_own_plugins_have_no_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """All was well, and each call failed at its first word. A file may have its keys elsewhere."""
    (tmp_path / "stock.py").write_text(STOCK.format(more=""))
    monkeypatch.setenv("VOICEFLEET_AGENT", str(tmp_path / "stock.py"))
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    app.run(["check"])
    shown = capsys.readouterr().out
    assert "warn  providers: livekit.plugins.deepgram usually reads DEEPGRAM_API_KEY" in shown
    assert "OPENAI_API_KEY" not in shown
    monkeypatch.setenv("DEEPGRAM_API_KEY", "key")
    app.run(["check"])
    assert "skip  providers: the agent file brings its own" in capsys.readouterr().out


def test_check_misses_the_weights_of_a_turn_detector_that_the_file_brings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # As `from livekit.plugins.turn_detector.multilingual import MultilingualModel` leaves it.
    detector = "class MultilingualModel:\n    __module__ = 'livekit.plugins.turn_detector.base'"
    (tmp_path / "detects.py").write_text(STOCK.format(more=detector))
    monkeypatch.setenv("VOICEFLEET_AGENT", str(tmp_path / "detects.py"))
    monkeypatch.setattr(turns, "missing_weights", lambda: ["languages.json"])
    app.run(["check"])
    shown = capsys.readouterr().out
    assert "FAIL  turn detector of the agent file: the turn-detector plugin has no lang" in shown
    assert "VOICEFLEET_TURN_DETECTION=multilingual voicefleet models" in shown


def test_a_call_with_nothing_to_say_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.setenv(name, "ws://localhost:1")
    assert app.run(["call", "assistant"]) == ExitCode.USAGE
    assert "needs --conversation or --say, and neither is given" in lines_of(capsys)[-2]


def test_what_no_one_foresaw_is_an_error_with_a_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def burst(*_: object) -> None:
        raise ZeroDivisionError("never\ndivide")

    monkeypatch.setattr(settings, "load", burst)
    assert app.run(["settings"]) == ExitCode.UNEXPECTED
    assert lines_of(capsys)[0] == "error: ZeroDivisionError: never divide"


def test_verbose_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    app.run(["-v", "start"])
    assert "Traceback" in capsys.readouterr().err


def test_settings_hides_every_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LIVEKIT_API_SECRET", "OPENAI_API_KEY", "DEEPGRAM_API_KEY", "CARTESIA_API_KEY"):
        monkeypatch.setenv(name, "do-not-show")
    for form in ("table", "json"):
        assert app.run(["settings", "--format", form]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "do-not-show" not in shown
    assert "set (hidden)" in shown

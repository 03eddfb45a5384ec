"""Talking with an agent in the terminal, as a person does: one command, lines in, lines out."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.request import urlopen

import pytest

from voicefleet.cli import app
from voicefleet.errors import ExitCode
from voicefleet.lab import conversation, processes, stack

DRIVE_THRU = conversation.load("drive_thru")


def talking(home: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        processes.python("voicefleet", "console", "--agent", "drive_thru", *options),
        env=stack.clean_environment() | {"HOME": str(home)} | environment,
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_of(terminal: str) -> list[str]:
    return [line.split("\r")[-1] for line in terminal.splitlines()]


@pytest.mark.slow
def test_an_order_is_typed_without_a_key_and_the_agent_ends_the_call(tmp_path: Path) -> None:
    said = [exchange.caller for exchange in DRIVE_THRU.exchanges]
    with talking(tmp_path) as terminal:
        assert terminal.stdin is not None
        assert terminal.stdout is not None
        terminal.stdin.write("".join(f"{line}\n" for line in ("", "A pizza!", *said)))
        terminal.stdin.flush()
        # The input stays open: it is the agent who ends the call.
        lines = lines_of(terminal.stdout.read())
        assert terminal.wait(timeout=60) == ExitCode.OK
    spoken = [line.removeprefix("agent    ") for line in lines if line.startswith("agent  ")]
    answers = [exchange.agent for exchange in DRIVE_THRU.exchanges]
    assert spoken == [DRIVE_THRU.greeting, "Sorry, I did not understand that.", *answers]
    assert any(line.startswith("tool     remove_item") for line in lines)
    assert lines[-1] == "the agent has ended the call"
    assert [f"  {line}" for line in said] == lines[1 : len(said) + 1]
    assert [path for path in tmp_path.rglob("stack-*") if path.is_dir()] == []


@pytest.fixture
def providers_url(tmp_path: Path) -> Iterator[str]:
    """Providers at addresses of one's own, which take the key `lab` and no other."""
    process, url = asyncio.run(stack.start_providers(tmp_path, "drive_thru"))
    yield url
    asyncio.run(processes.stop(process))


@pytest.mark.slow
def test_with_keys_the_providers_of_the_environment_answer_and_ctrl_d_hangs_up(
    tmp_path: Path, providers_url: str
) -> None:
    order = DRIVE_THRU.exchanges[0]
    own = stack.provider_settings(providers_url)
    with talking(tmp_path, "--keys", **own) as terminal:
        output, complaints = terminal.communicate(f"{order.caller}\n", timeout=60)
    lines = lines_of(output)
    assert (terminal.returncode, complaints) == (ExitCode.OK, "")
    assert lines[0].startswith("The agent starts")
    assert f"agent    {order.agent}" in lines
    with urlopen(f"{providers_url}/lab/requests") as answer:
        assert json.load(answer)["counts"]["openai-llm"] > 0


class SoundCard(ModuleType):
    """The `sounddevice` of a machine that has some devices, and not others."""

    class PortAudioError(Exception):
        pass

    def __init__(self, *kinds: str) -> None:
        super().__init__("sounddevice")
        self._kinds = kinds

    def query_devices(self, *, kind: str) -> None:
        if kind not in self._kinds:
            raise self.PortAudioError("Error querying device -1")


@pytest.mark.usefixtures("clean_environment")
@pytest.mark.parametrize(
    ("kinds", "missing"), [((), "no microphone"), (("input",), "no loudspeaker")]
)
def test_aloud_on_a_machine_that_cannot_is_an_error_and_no_silent_end(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kinds: tuple[str, ...],
    missing: str,
) -> None:
    """LiveKit's console started, opened every provider's line, and ended without a word."""
    for name, value in stack.provider_settings("http://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "sounddevice", SoundCard(*kinds))
    assert app.run(["console", "--voice"]) == ExitCode.TOOL
    assert missing in capsys.readouterr().err


@pytest.mark.usefixtures("clean_environment")
@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--keys",), ExitCode.SETTINGS, "OPENAI_API_KEY is not set"),
        (("--voice",), ExitCode.SETTINGS, "OPENAI_API_KEY is not set"),
        (("--conversation", "nowhere"), ExitCode.USAGE, "no conversation 'nowhere'"),
    ],
)
def test_what_cannot_be_talked_with_is_said_before_anything_starts(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: ExitCode, words: str
) -> None:
    assert app.run(["console", *options]) == code
    assert words in capsys.readouterr().err

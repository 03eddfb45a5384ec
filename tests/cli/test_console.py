"""Talking with an agent in the terminal, as a person does: one command, lines in, lines out."""

import subprocess
from pathlib import Path

import pytest

from worker.cli import app
from worker.errors import ExitCode
from worker.lab import conversation, processes, stack

DRIVE_THRU = conversation.load("drive_thru")


def talking(home: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        processes.python("worker", "console", *options),
        env=stack.clean_environment() | {"HOME": str(home)},
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_order_is_typed_without_a_key_and_the_agent_ends_the_call(tmp_path: Path) -> None:
    said = [exchange.caller for exchange in DRIVE_THRU.exchanges]
    with talking(tmp_path, "--agent", "drive_thru") as terminal:
        assert terminal.stdin is not None
        assert terminal.stdout is not None
        terminal.stdin.write("".join(f"{line}\n" for line in ("", "A pizza!", *said)))
        terminal.stdin.flush()
        # The input stays open: it is the agent who ends the call.
        lines = [line.rstrip("\n").split("\r")[-1] for line in terminal.stdout]
        assert terminal.wait(timeout=60) == ExitCode.OK
    spoken = [line.removeprefix("agent    ") for line in lines if line.startswith("agent  ")]
    answers = [exchange.agent for exchange in DRIVE_THRU.exchanges]
    assert spoken == [DRIVE_THRU.greeting, "Sorry, I did not understand that.", *answers]
    assert any(line.startswith("tool     remove_item") for line in lines)
    assert lines[-1] == "the agent has ended the call"
    assert [f"  {line}" for line in said] == lines[1 : len(said) + 1]
    assert [path for path in tmp_path.rglob("stack-*") if path.is_dir()] == []


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

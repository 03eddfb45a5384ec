"""What an operator does by hand: the preflight, the probe, a start that cannot be, a stop."""

import asyncio
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.promises.test_pod import endpoints_of, worker_of
from voicefleet.errors import ExitCode
from voicefleet.lab import conversation, processes, stack
from voicefleet.lab.compare.stage import AGENT_FILE
from voicefleet.lab.stack import Stack

READING_GROUP = conversation.load("assistant").exchanges[1]

pytestmark = pytest.mark.server


def run(up: Stack, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """One verb, with the environment of the stack's own worker."""
    return subprocess.run(
        processes.python("voicefleet", *arguments),
        env=stack.operator_environment(up) | changed,
        cwd=up.folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def taken_port() -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield str(taken.getsockname()[1])


def test_check_of_a_worker_that_can_start_is_all_ok(assistant_stack: Stack) -> None:
    done = run(assistant_stack, "check")
    assert done.returncode == ExitCode.OK, done.stdout
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["ok"] * 9
    assert lines[-1].startswith("all is well")


async def test_check_in_a_running_pod_says_that_the_port_is_its_own(assistant_stack: Stack) -> None:
    """Four runbooks tell to run it there, and it failed in every pod."""
    _, _, port = (await endpoints_of(worker_of(assistant_stack))).rpartition(":")
    done = await asyncio.to_thread(run, assistant_stack, "check", VOICEFLEET_HTTP_PORT=port)
    assert done.returncode == ExitCode.OK, done.stdout
    assert "of a pod that runs here and is ready" in done.stdout


def test_check_names_a_port_that_somebody_else_has(assistant_stack: Stack, taken_port: str) -> None:
    done = run(assistant_stack, "check", VOICEFLEET_HTTP_PORT=taken_port)
    assert done.returncode == ExitCode.PORT
    assert f"cannot listen on 127.0.0.1:{taken_port}" in done.stdout


@pytest.mark.parametrize(
    ("changed", "code", "line", "fix"),
    [
        ({"OPENAI_API_KEY": "wrong"}, ExitCode.PROVIDER, "llm refuses the key (401)", "OPENAI"),
        ({"DEEPGRAM_API_KEY": "wrong"}, ExitCode.PROVIDER, "deepgram refuses the key", "DEEPGRAM"),
        ({"CARTESIA_API_KEY": "wrong"}, ExitCode.PROVIDER, "cartesia refuses the key", "CARTESIA"),
        (
            {"VOICEFLEET_DEEPGRAM_URL": "http://127.0.0.1:9/v1/listen"},
            ExitCode.PROVIDER,
            "deepgram does not answer",
            "VOICEFLEET_DEEPGRAM_URL",
        ),
        (
            {"LIVEKIT_API_SECRET": "w" * 40},
            ExitCode.LIVEKIT,
            "refuses the key 'voicefleet-lab'",
            "LIVEKIT_API_SECRET",
        ),
        ({"VOICEFLEET_AGENT": "nobody"}, ExitCode.AGENT_FILE, "no such module", "assistant"),
    ],
)
def test_check_names_what_is_wrong_with_its_fix(
    assistant_stack: Stack, changed: dict[str, str], code: ExitCode, line: str, fix: str
) -> None:
    done = run(assistant_stack, "check", **changed)
    failed = done.stdout.partition("FAIL")[2].splitlines()
    assert done.returncode == code
    assert line in failed[0]
    assert fix in failed[1]
    assert "Traceback" not in done.stdout + done.stderr


def test_check_asks_no_provider_that_the_agent_file_does_not_use(assistant_stack: Stack) -> None:
    done = run(assistant_stack, "check", VOICEFLEET_AGENT=str(AGENT_FILE), DEEPGRAM_API_KEY="wrong")
    assert done.returncode == ExitCode.OK, done.stdout
    assert "skip  providers: the agent file brings its own" in done.stdout


def test_a_url_that_is_no_livekit_is_told_from_one_that_does_not_answer(
    assistant_stack: Stack,
) -> None:
    other = assistant_stack.providers_url.replace("http", "ws")
    done = run(assistant_stack, "check", LIVEKIT_URL=other)
    assert done.returncode == ExitCode.LIVEKIT
    assert "does not answer as LiveKit does" in done.stdout


def test_a_taken_port_ends_the_start(assistant_stack: Stack, taken_port: str) -> None:
    done = run(assistant_stack, "start", VOICEFLEET_HTTP_PORT=taken_port)
    assert done.returncode == ExitCode.PORT
    error, fix = done.stderr.splitlines()[-2:]
    assert error.startswith(f"error: the endpoints cannot listen on 127.0.0.1:{taken_port}")
    assert fix.startswith("fix: set VOICEFLEET_HTTP_PORT")
    assert "Traceback" not in done.stdout + done.stderr


def test_a_livekit_that_never_comes_ends_the_start_with_its_own_code(
    assistant_stack: Stack,
) -> None:
    nobody = {"LIVEKIT_URL": "ws://127.0.0.1:9", "VOICEFLEET_LIVEKIT_WAIT_SECONDS": "2"}
    done = run(assistant_stack, "start", **nobody)
    assert done.returncode == ExitCode.LIVEKIT, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_refused_key_ends_the_start_at_once(assistant_stack: Stack) -> None:
    done = run(assistant_stack, "start", LIVEKIT_API_SECRET="w" * 40)
    assert done.returncode == ExitCode.LIVEKIT
    assert "refuses the key" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "when", ["hosting agent file", "starting worker", "preloading plugins", "registered worker"]
)
def test_sigterm_ends_a_worker_without_calls_with_zero_whenever_it_comes(
    assistant_stack: Stack, when: str
) -> None:
    worker = subprocess.Popen(
        processes.python("voicefleet", "start"),
        env=stack.operator_environment(assistant_stack),
        cwd=assistant_stack.folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert any(f'"{when}"' in line for line in worker.stdout)
    worker.send_signal(signal.SIGTERM)
    said = worker.stdout.read()
    worker.stdout.close()
    assert worker.wait(timeout=60) == ExitCode.OK, said
    assert "Traceback" not in said


@pytest.mark.parametrize("after_seconds", [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0])
def test_a_worker_told_to_stop_while_it_imports_is_gone(
    assistant_stack: Stack, after_seconds: float
) -> None:
    """One moment ended as an error of the agent file, and another went unheard: the worker started,
    and took calls until it was killed. The code is -15 where Python itself has just begun.
    """
    worker = subprocess.Popen(
        processes.python("voicefleet", "start"),
        env=stack.operator_environment(assistant_stack),
        cwd=assistant_stack.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    time.sleep(after_seconds)
    worker.send_signal(signal.SIGTERM)
    said, _ = worker.communicate(timeout=30)
    assert worker.returncode in (ExitCode.OK, -signal.SIGTERM), said
    assert b"error:" not in said


def test_the_probe_prints_a_timeline_and_ends_with_zero(assistant_stack: Stack) -> None:
    done = run(
        assistant_stack,
        *("call", "assistant", "--json"),
        *("--say", READING_GROUP.caller),
        *("--expect", READING_GROUP.agent),
    )
    assert done.returncode == ExitCode.OK, done.stderr
    told = json.loads(done.stdout)
    assert told["agent_joined_seconds"] > 0
    assert told["turns"][1]["agent_heard"] == READING_GROUP.caller
    assert told["turns"][1]["gap_seconds"] > 0


def test_the_probe_of_an_agent_that_answers_otherwise_ends_with_81(assistant_stack: Stack) -> None:
    done = run(
        assistant_stack,
        *("call", "assistant", "--say", READING_GROUP.caller),
        *("--expect", "We are closed for the summer."),
    )
    assert done.returncode == ExitCode.NOT_UNDERSTOOD
    assert "expected the agent to say 'We are closed for the summer.'" in done.stderr


def test_the_probe_of_an_agent_that_is_not_there_ends_with_80(assistant_stack: Stack) -> None:
    done = run(assistant_stack, "call", "nobody", "--say", "Hello.", "--timeout", "2")
    assert done.returncode == ExitCode.NO_AGENT
    assert "no agent 'nobody' joined" in done.stderr

"""The comparison as a visitor has it: one command, one table, nothing left running."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises.test_demo import left_over
from voicefleet.errors import ExitCode
from voicefleet.lab import processes, stack

pytestmark = pytest.mark.server


def environment(folder: Path, binary: Path) -> dict[str, str]:
    return stack.clean_environment() | {"LIVEKIT_SERVER_BIN": str(binary), "TMPDIR": str(folder)}


def compare(folder: Path, binary: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        processes.python("voicefleet", "compare", *options),
        env=environment(folder, binary),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=170,
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short path: a Unix socket's has at most 107 characters."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_a_drill_is_held_with_both_workers_and_leaves_nothing(
    folder: Path, livekit_server_binary: Path
) -> None:
    done = compare(folder, livekit_server_binary, "--only", "idle-memory")
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| `idle-memory`")]
    assert "failed" not in row
    assert row.count("; 2 warm processes |") >= 1
    assert " MiB; a warm process's own " in row
    assert left_over(folder) == []
    assert not list(folder.glob("compare-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_comparison_that_is_stopped_takes_its_stage_down(
    folder: Path, livekit_server_binary: Path, number: signal.Signals
) -> None:
    running = subprocess.Popen(
        processes.python("voicefleet", "compare", "--only", "leak"),
        env=environment(folder, livekit_server_binary),
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    # The stand-ins, livekit-server, a worker, its forkserver and its warm processes.
    while len(left_over(folder)) < 7:
        assert running.poll() is None
        time.sleep(0.2)
    running.send_signal(number)
    assert running.wait(timeout=60) == ExitCode.INTERRUPTED
    assert left_over(folder) == []
    assert not list(folder.glob("compare-*"))


def test_a_table_without_a_place_in_the_document_is_said_before_the_drills(
    tmp_path: Path, livekit_server_binary: Path
) -> None:
    document = tmp_path / "README.md"
    document.write_text("# No place")
    done = compare(tmp_path, livekit_server_binary, "--write", str(document))
    assert done.returncode == ExitCode.USAGE
    assert "has no place for the table" in done.stderr

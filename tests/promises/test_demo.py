"""The demo as a visitor has it: one command, the stack left up if asked, nothing left if not."""

import re
import subprocess
from pathlib import Path

import psutil
import pytest

from worker.errors import ExitCode
from worker.lab import processes, stack

pytestmark = pytest.mark.server


def demo(home: Path, binary: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = stack.clean_environment() | {"HOME": str(home), "LIVEKIT_SERVER_BIN": str(binary)}
    return subprocess.run(
        processes.python("worker", "demo", *options),
        env=environment,
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
        assert "make stop" in again.stderr
        assert re.search(r"-m worker call assistant --conversation assistant", kept.stdout)
    finally:
        stopped = demo(tmp_path, livekit_server_binary, "--stop")
    assert stopped.returncode == ExitCode.OK
    assert not any(psutil.pid_exists(part.pid) for part in up.parts)
    assert not state.exists()


def test_a_stack_that_cannot_start_leaves_nothing_running(
    tmp_path: Path, livekit_server_binary: Path
) -> None:
    before = {process.pid for process in psutil.process_iter()}
    failed = demo(tmp_path, livekit_server_binary, "--behaviour", "deepgram:fault=unheard-of")
    assert failed.returncode == ExitCode.TOOL
    assert failed.stderr.startswith("error: providers ended while it started")
    ours = [p for p in psutil.process_iter() if p.pid not in before and _is_ours(p, tmp_path)]
    assert ours == []


def _is_ours(process: psutil.Process, home: Path) -> bool:
    try:
        return process.cwd().startswith(str(home))
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False

"""Programs of the lab: started on their own, watched by their log, ended for good."""

import sys
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_until
from voicefleet import errors
from voicefleet.lab import processes

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)"
WITH_A_CHILD = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("up", flush=True)
time.sleep(60)
"""


def run(folder: Path, code: str) -> processes.Running:
    return processes.start("program", (sys.executable, "-c", code), environment={}, folder=folder)


async def test_a_program_that_ends_while_it_starts_is_an_error_with_its_last_words(
    tmp_path: Path,
) -> None:
    running = run(tmp_path, "print('no port'); raise SystemExit(1)")
    with pytest.raises(errors.ToolError, match="no port"):
        await processes.wait_for_line(running, lambda line: "up" in line, within_seconds=20)
    await processes.stop(running)


async def test_what_a_verb_of_ours_said_is_told_as_its_own_error_and_fix(tmp_path: Path) -> None:
    said = "error: no key\nfix: set it\nerror: no url\nfix: give it"
    running = run(tmp_path, f"print({said!r}); raise SystemExit(1)")
    with pytest.raises(errors.ToolError) as raised:
        await processes.wait_for_line(running, lambda line: "up" in line, within_seconds=20)
    await processes.stop(running)
    assert raised.value.problem == "program ended while it started: no key; no url"
    assert raised.value.fix == f"set it; give it (its log: {running.log})"


async def test_a_program_that_is_never_ready_is_an_error(tmp_path: Path) -> None:
    running = run(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(errors.ToolError, match="not ready within"):
        await processes.wait_for_line(running, lambda line: "up" in line, within_seconds=0.2)
    await processes.stop(running)


async def test_a_program_that_ignores_sigterm_is_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = tuple((number, 0.2) for number, _ in processes.STOP_SIGNALS_AND_SECONDS)
    monkeypatch.setattr(processes, "STOP_SIGNALS_AND_SECONDS", quick)
    running = run(tmp_path, f"{STUBBORN}; time.sleep(60)")
    await processes.wait_for_line(running, lambda line: "up" in line, within_seconds=20)
    await processes.stop(running)
    assert not processes.is_alive(running)


async def test_no_child_of_a_stopped_program_is_left(tmp_path: Path) -> None:

    running = run(tmp_path, WITH_A_CHILD)
    await processes.wait_for_line(running, lambda line: "up" in line, within_seconds=20)
    (child,) = psutil.Process(running.pid).children()
    await processes.stop(running)
    await wait_until(lambda: not child.is_running(), because="the child was ended with it")


def test_a_later_process_with_the_same_id_is_not_taken_for_it(tmp_path: Path) -> None:
    me = processes.Running("me", 1, 0.0, tmp_path / "log")
    assert not processes.is_alive(me)


def test_a_program_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.ToolError, match="cannot be run"):
        processes.start("none", (str(tmp_path / "none"),), environment={}, folder=tmp_path)


async def test_what_a_program_leaves_when_it_ends_is_ended_with_its_session(
    tmp_path: Path,
) -> None:
    """A stock worker that is told to stop twice leaves at once, and its job processes may not."""
    running = run(tmp_path, WITH_A_CHILD)
    await processes.wait_for_line(running, lambda line: "up" in line, within_seconds=20)
    (child,) = psutil.Process(running.pid).children()
    psutil.Process(running.pid).kill()
    await wait_until(lambda: not processes.is_alive(running), because="the program has ended")
    assert child.is_running()
    await processes.kill(running)
    await wait_until(lambda: not child.is_running(), because="what it left was ended")

"""What a process has in memory before a call comes: what its calls use, and no more."""

import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from voicefleet import settings as settings_module
from voicefleet.job import shared, signals

LOADED = "print(sorted(m for m in sys.modules if m.startswith('livekit.plugins.')))"

pytestmark = pytest.mark.usefixtures("clean_environment")


def plugins_after(code: str) -> str:
    """The modules of plugins that a fresh process has imported after this, in the test's folder."""
    command = [sys.executable, "-c", f"import sys\n{code}\n{LOADED}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_a_pod_imports_no_provider_that_its_agent_file_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It did, and the forkserver then loaded every plugin: 28 MB and two seconds of each start."""
    (tmp_path / "own.py").write_text("import livekit.agents\n")
    monkeypatch.setenv("VOICEFLEET_AGENT", "own.py")
    loaded = plugins_after("import voicefleet.pod.pod, voicefleet.job.preload")
    assert loaded.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["assistant", "mine.py", "mine"])
def test_an_agent_file_that_uses_our_builders_has_its_plugins_before_a_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, agent: str
) -> None:
    """Where its entrypoint runs on a thread, as in LiveKit's console, it may import none."""
    text = "from voicefleet import build_session\nraise SystemExit('it ran')\n"
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.setenv("VOICEFLEET_AGENT", agent)
    monkeypatch.setenv("VOICEFLEET_PRELOAD_AGENT", "false")
    loaded = plugins_after("import voicefleet.job.preload")
    assert all(f"'livekit.plugins.{name}'" in loaded for name in ("cartesia", "deepgram", "openai"))


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Those of the test's process are as before when the test is over."""
    before = {number: signal.getsignal(number) for number in signals.GROUP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


PARTS = ("load", "vad", "rehearse")


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize("fails", [None, *PARTS])
def test_a_part_that_cannot_be_loaded_keeps_no_other_from_it_and_ends_no_forkserver(
    monkeypatch: pytest.MonkeyPatch, fails: str | None
) -> None:
    """With the forkserver every process of the pod ends; prewarm reports the error, in the job."""
    done = list[str]()

    def stand_in(name: str) -> None:
        def part(*_: object) -> None:
            done.append(name)
            if name == fails:
                raise ValueError(name)

        monkeypatch.setattr(shared, name, part)

    for name in PARTS:
        stand_in(name)
    runpy.run_module("voicefleet.job.preload")
    assert done == list(PARTS)
    # Every job is forked with this.
    assert signal.getsignal(signal.SIGTERM) is signals._change_nothing


@pytest.mark.usefixtures("own_signals")
def test_settings_that_are_wrong_end_no_forkserver(monkeypatch: pytest.MonkeyPatch) -> None:
    done = list[str]()
    monkeypatch.setenv("VOICEFLEET_SLOTS", "many")
    monkeypatch.setattr(shared, "rehearse", lambda: done.append("rehearse"))
    with pytest.raises(Exception, match="VOICEFLEET_SLOTS"):
        settings_module.load()
    runpy.run_module("voicefleet.job.preload")
    assert done == ["rehearse"]

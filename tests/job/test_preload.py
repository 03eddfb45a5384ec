"""What a process has in memory before a call comes: what its calls use, and no more."""

import subprocess
import sys
from pathlib import Path

import pytest

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

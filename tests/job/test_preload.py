"""What a process has in memory before a call comes: what its calls use, and no more."""

import subprocess
import sys

import pytest

LOADED = "print(sorted(m for m in sys.modules if m.startswith('livekit.plugins.')))"

pytestmark = pytest.mark.usefixtures("clean_environment")


def plugins_after(code: str) -> str:
    """The modules of plugins that a fresh process has imported after this."""
    command = [sys.executable, "-c", f"import sys\n{code}\n{LOADED}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_pod_imports_no_provider_that_its_agent_file_does_not() -> None:
    """It did, and the forkserver then loaded every plugin: 28 MB and two seconds of each start."""
    loaded = plugins_after("import worker.server.run, worker.server.wiring, worker.job.preload")
    assert loaded.strip() == "[]"


def test_an_agent_file_of_ours_has_the_plugins_of_the_chosen_chains_before_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKER_STT", "deepgram")
    monkeypatch.setenv("WORKER_TTS", "openai")
    loaded = plugins_after("import worker.job.preload_providers")
    assert "'livekit.plugins.deepgram'" in loaded
    assert "'livekit.plugins.openai'" in loaded
    assert "cartesia" not in loaded

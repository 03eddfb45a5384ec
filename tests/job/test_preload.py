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


@pytest.mark.slow
def test_a_pod_imports_no_provider_that_its_agent_file_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It did, and the forkserver then loaded every plugin: 28 MB and two seconds of each start."""
    monkeypatch.setenv("VOICEFLEET_PRELOAD_AGENT", "false")
    loaded = plugins_after(
        "import voicefleet.pod.pod, voicefleet.pod.wiring, voicefleet.job.preload"
    )
    assert loaded.strip() == "[]"


@pytest.mark.slow
def test_an_agent_file_of_ours_has_its_plugins_before_a_call() -> None:
    """Where its entrypoint runs on a thread, as in LiveKit's console, it may import none."""
    loaded = plugins_after("import voicefleet.job.preload_providers")
    assert all(f"'livekit.plugins.{name}'" in loaded for name in ("cartesia", "deepgram", "openai"))

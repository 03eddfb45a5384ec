"""The turn-detector plugin: its real code on a tiny model, and a clear error without one.

In processes of their own, because the model hub's client reads HF_HOME when it is imported, and
because importing the plugin changes what a worker of that process would start.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from voicefleet.errors import ExitCode

pytestmark = pytest.mark.slow

PREDICT = """
import json
from voicefleet.providers import turns
runner = turns.runner({kind!r})
runner.initialize()
chat = [{{"role": "user", "content": "hello there"}}]
print(runner.run(json.dumps({{"chat_ctx": chat}}).encode()).decode())
"""


@pytest.fixture(scope="module")
def hub_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    made = run(["-m", "tests.providers.tiny_turn_detector", str(folder)], folder, "english")
    assert made.returncode == 0, made.stderr
    return folder


def run(
    arguments: list[str], hub_home: Path, kind: str, **more: str
) -> subprocess.CompletedProcess[str]:
    environment = {
        "HF_HOME": str(hub_home),
        "HF_HUB_OFFLINE": "1",
        "VOICEFLEET_TURN_DETECTION": kind,
        "PATH": "/usr/bin:/bin",
        **more,
    }
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=120
    )


def test_models_loads_the_plugins_model_where_its_weights_are(hub_home: Path) -> None:
    done = run(["-m", "voicefleet", "models", "--verify"], hub_home, "multilingual")
    assert done.returncode == ExitCode.OK, done.stderr
    assert "ok    turn detector (multilingual)" in done.stdout


def test_the_plugins_runner_predicts_from_the_conversation(hub_home: Path) -> None:
    done = run(["-c", PREDICT.format(kind="english")], hub_home, "english")
    prediction = json.loads(done.stdout)
    assert 0.5 < prediction["eou_probability"] < 1.0


def test_models_without_the_weights_is_an_error_with_its_fix(tmp_path: Path) -> None:
    done = run(["-m", "voicefleet", "models", "--verify"], tmp_path, "english")
    assert done.returncode == ExitCode.MODELS
    error, fix = done.stderr.splitlines()[-2:]
    assert error.startswith("error: the turn detector (english) does not load")
    assert "voicefleet models" in fix


def test_models_where_the_hub_is_out_of_reach_is_an_error_with_its_fix(tmp_path: Path) -> None:
    done = run(["-m", "voicefleet", "models"], tmp_path, "english")
    assert done.returncode == ExitCode.MODELS
    assert done.stderr.splitlines()[-1].startswith("fix: run it where the model hub")


def test_a_start_without_the_weights_is_an_error_and_not_a_slow_worker(tmp_path: Path) -> None:
    """LiveKit only logs that its inference process could not load them."""
    names = ("URL", "API_KEY", "API_SECRET")
    keys = {f"LIVEKIT_{name}": "ws://127.0.0.1:9" for name in names}
    keys |= {f"{name}_API_KEY": "key" for name in ("DEEPGRAM", "OPENAI", "CARTESIA")}
    done = run(["-m", "voicefleet", "start"], tmp_path, "english", **keys)
    assert done.returncode == ExitCode.MODELS
    assert "onnx/model_q8.onnx" in done.stderr

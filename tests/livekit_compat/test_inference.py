"""The runners of LiveKit's inference process still are as `livekit_compat/inference.py` takes them.

In a process of its own, because importing the plugin changes what a worker of that process starts.
"""

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from tests.livekit_compat.contract import expect
from voicefleet.livekit_compat import inference

WHERE = "See livekit_compat/inference.py."

# Who is registered before and after, and which files the plugin asks the model hub for.
LOOK = """
import json

import huggingface_hub
import transformers
from livekit.agents import Plugin
from voicefleet.livekit_compat import inference

found = {"before": sorted(inference.Runner.registered_runners)}
inference.import_plugin()
found["registered"] = sorted(inference.Runner.registered_runners)
for kind, one in inference.PLUGIN_DETECTORS.items():
    inference.runner(kind)
    getattr(inference.import_plugin(one.module), one.model)
found["weights"] = [list(file) for file in inference.weights()]
found["asked"] = asked = []

def download(repo_id, filename, subfolder=None, revision=None, **_):
    asked.append([repo_id, revision, f"{subfolder}/{filename}" if subfolder else filename])
    return "/dev/null"

class Tokenizer:
    def from_pretrained(name, revision=None, **_):
        asked.append([name, revision, "tokenizer.json"])

huggingface_hub.hf_hub_download, transformers.AutoTokenizer = download, Tokenizer
for plugin in Plugin.registered_plugins:
    if "turn_detector" in plugin.package:
        plugin.download_files()
print(json.dumps(found))
"""


@cache
def found() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOOK], capture_output=True, text=True, timeout=120
    )
    expect(
        done.returncode == 0,
        "The turn-detector plugin or LiveKit's `_InferenceRunner` is used in another way:"
        f" VOICEFLEET_TURN_DETECTION=english and multilingual do not work. {WHERE} {done.stderr}",
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


pytestmark = pytest.mark.slow


def test_importing_the_plugin_registers_the_runners_of_both_detectors() -> None:
    methods = {one.method for one in inference.PLUGIN_DETECTORS.values()}
    expect(
        found()["before"] == [] and methods <= set(found()["registered"]),
        "Importing the turn-detector plugin registers other runners with `_InferenceRunner`: a pod"
        " starts no inference process, and every turn ends by its longest pause."
        f" {WHERE} {found()}",
    )


def test_the_weights_are_those_that_the_runners_ask_for() -> None:
    """LiveKit only logs that its inference process could not load them."""
    asked, ours = found()["asked"], found()["weights"]
    expect(
        sorted(asked) == sorted(ours),
        "The turn-detector plugin loads other files than we look for: a start without them is not"
        f" refused, and every turn ends by its longest pause. {WHERE} It asks for {asked}, and we"
        f" know {ours}",
    )

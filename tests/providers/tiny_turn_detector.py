"""A tiny stand-in for the weights of the turn-detector plugin, in the model hub's cache layout.

The real weights are baked into an image and cannot be fetched on a test machine; what is tested is
the plugin's real loading and running code. Run as `python -m tests.providers.tiny_turn_detector
HF_HOME`, in a process of its own, because importing the plugin changes what a worker would start.
"""

import sys
import warnings
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from livekit.plugins.turn_detector import models

UNKNOWN = "[UNK]"
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>{% endfor %}"
)
COMMIT = "0" * 40


def install(hub_home: Path) -> None:
    """Put a loadable model of each kind where `HF_HOME=hub_home` makes the plugin look."""
    repository = hub_home / "hub" / f"models--{models.HG_MODEL.replace('/', '--')}"
    for number, revision in enumerate(models.MODEL_REVISIONS.values()):
        commit = f"{number}{COMMIT[1:]}"
        reference = repository / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)
        _write_snapshot(repository / "snapshots" / commit)


def _write_snapshot(folder: Path) -> None:
    (folder / "onnx").mkdir(parents=True)
    onnx.save(_mean_of_tokens(), folder / "onnx" / models.ONNX_FILENAME)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "languages.json").write_text('{"en": {"threshold": 0.1}}')
    words = {UNKNOWN: 0, "<|im_start|>": 1, "<|im_end|>": 2, "hello": 3}
    raw = Tokenizer(WordLevel(words, unk_token=UNKNOWN))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token=UNKNOWN)  # type: ignore[no-untyped-call]
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)


def _mean_of_tokens() -> onnx.ModelProto:
    """input_ids (int64, 1×N) → one probability (float32, 1×1): the sigmoid of the tokens' mean."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["input_ids"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["floats"], ["mean"], keepdims=1),
            helper.make_node("Sigmoid", ["mean"], ["probability"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 1])],
    )
    opset = helper.make_opsetid("", 18)
    return helper.make_model(graph, opset_imports=[opset], ir_version=9)


if __name__ == "__main__":
    install(Path(sys.argv[1]))

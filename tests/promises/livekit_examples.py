"""`python -m tests.promises.livekit_examples PATH`: which of LiveKit's own examples we load.

PATH is a checkout of livekit/agents. Each agent file under its examples/ is loaded, in a process of
its own and without a real key. docs/livekit-examples.md has the table of a run.
"""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SERVERS = {"AgentServer", "WorkerOptions"}

# Each is refused by whoever is asked; a file that wants one at import finds it.
DUMMY_KEYS = {
    "LIVEKIT_URL": "ws://127.0.0.1:9",
    "LIVEKIT_API_KEY": "a-key-that-no-server-knows",
    "LIVEKIT_API_SECRET": "a-secret-that-no-server-knows-at-all",
    "OPENAI_API_KEY": "none",
    "DEEPGRAM_API_KEY": "none",
    "CARTESIA_API_KEY": "none",
}
LOAD = """
import json, sys
from voicefleet import errors
from voicefleet.job import agent_file
try:
    agent_file.load(sys.argv[1])
except errors.AgentFileError as error:
    print(json.dumps(str(error)))
else:
    print(json.dumps(None))
"""
LOAD_WITHIN_SECONDS = 120

# In LiveKit's plugins, but nobody's service.
NO_PROVIDER = {"silero", "turn_detector"}
# LiveKit's own service, which wants a key of LiveKit Cloud. Its VAD runs in the process.
INFERENCE = {"inference.STT", "inference.LLM", "inference.TTS"}


@dataclass(frozen=True, slots=True)
class Example:
    path: str
    problem: str | None
    """What `load` says; None if it loads."""
    missing: tuple[str, ...]
    """The packages that the file imports and that are not installed."""
    services: tuple[str, ...]
    """Who hears, thinks and speaks in a call, as far as the file says it in words."""

    def row(self) -> str:
        cells = [
            f"`{self.path}`",
            "yes" if self.problem is None else "no",
            ", ".join(f"`{name}`" for name in self.missing) or self.problem or "",
            ", ".join(self.services),
        ]
        return f"| {' | '.join(cells)} |"


def main() -> int:
    examples = Path(sys.argv[-1]).resolve() / "examples"
    if len(sys.argv) != 2 or not examples.is_dir():
        print("error: give the path of a checkout of livekit/agents", file=sys.stderr)  # noqa: T201
        return 2
    found = [look_at(path, examples) for path in sorted(examples.rglob("*.py")) if is_agent(path)]
    print("| example | loads | needs, to load | asks, in a call |")  # noqa: T201
    print("| --- | --- | --- | --- |")  # noqa: T201
    for example in found:
        print(example.row())  # noqa: T201
    loads = sum(example.problem is None for example in found)
    unexplained = [e.path for e in found if e.problem is not None and not e.missing]
    print(f"\n{loads} of {len(found)} load; not explained by a package: {unexplained or 'none'}")  # noqa: T201
    return 1 if unexplained else 0


def is_agent(path: Path) -> bool:
    """Whether the file imports LiveKit's framework and makes a server with it."""
    tree = ast.parse(path.read_bytes())
    imports = any(module.startswith("livekit.agents") for module in _imports(tree))
    return imports and any(_called(node) in SERVERS for node in ast.walk(tree))


def look_at(path: Path, examples: Path) -> Example:
    tree = ast.parse(path.read_bytes())
    problem = _problem(path, examples.parent)
    return Example(
        path=str(path.relative_to(examples)),
        problem=problem,
        missing=() if problem is None else tuple(sorted({*_missing(tree, path), *_named(problem)})),
        services=tuple(sorted(set(_services(tree)))),
    )


def _problem(path: Path, checkout: Path) -> str | None:
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-B", "-c", LOAD, str(path)],
            cwd=checkout,
            env=environment | DUMMY_KEYS,
            capture_output=True,
            text=True,
            timeout=LOAD_WITHIN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"does not load within {LOAD_WITHIN_SECONDS} s"
    if done.returncode != 0:
        return f"ends the process: {done.stderr.strip().splitlines()[-1:]}"
    problem: str | None = json.loads(done.stdout.splitlines()[-1])
    return problem


def _missing(tree: ast.Module, path: Path) -> Iterator[str]:
    """What the file itself imports and is not installed; the files beside it are not looked at."""
    for module in _imports(tree):
        top, *rest = module.split(".")
        beside = [path.with_name(top), path.with_name(f"{top}.py")]
        if any(each.exists() for each in beside):
            continue
        known = ".".join([top, *rest[:2]]) if top == "livekit" else top
        if not _is_there(known):
            yield _package(known)


def _named(problem: str) -> Iterator[str]:
    """What Python said it did not find, which a neighbour of the file may have imported."""
    for module in re.findall(r"No module named '([^']+)'", problem):
        yield _package(module)


def _package(module: str) -> str:
    """The distribution, where it has the name of what is imported, as all of these have."""
    parts = module.split(".")
    name = "-".join(parts[:3]) if parts[0] == "livekit" else parts[0]
    return name.replace("_", "-")


def _services(tree: ast.Module) -> Iterator[str]:
    plugins = {n.split(".")[2] for n in _imports(tree) if n.startswith("livekit.plugins.")}
    yield from (name.replace("_", " ") for name in plugins - NO_PROVIDER)
    for node in ast.walk(tree):
        asks = isinstance(node, ast.Attribute) and ast.unparse(node) in INFERENCE
        if asks or _names_a_model(node):
            yield "LiveKit Inference"


def _names_a_model(node: ast.AST) -> bool:
    """`AgentSession(stt="deepgram/nova-3")`: LiveKit's own service, by a name alone."""
    return _called(node) in {"AgentSession", "Agent"} and any(
        word.arg in {"stt", "llm", "tts"}
        and isinstance(word.value, ast.Constant)
        and isinstance(word.value.value, str)
        for word in getattr(node, "keywords", [])
    )


def _called(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Call):
        return None
    return ast.unparse(node.func).rpartition(".")[2]


def _imports(tree: ast.Module) -> Iterator[str]:
    """Every module that the file imports at its top level."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module in {"livekit", "livekit.plugins"}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def _is_there(module: str) -> bool:
    with suppress(ModuleNotFoundError):
        return importlib.util.find_spec(module) is not None
    return False


if __name__ == "__main__":
    sys.exit(main())

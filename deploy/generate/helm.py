"""Helm itself, found or built once, and how the chart is rendered with it."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from voicefleet import errors
from voicefleet.lab import go_program
from voicefleet.lab.go_program import GoProgram

CHART = Path(__file__).parent.parent / "helm"

FIX = "name a Helm 4 in HELM_BIN, put one on PATH, or install Go (https://go.dev/dl)"

PROGRAM = GoProgram(
    name="helm",
    version="4.2.4",
    package="helm.sh/helm/v4/cmd/helm",
    named_by="HELM_BIN",
    build_time="about four minutes",
    fix=FIX,
)


@dataclass(frozen=True, slots=True)
class Rendered:
    """What Helm wrote, and whether it did what it was told."""

    is_ok: bool
    out: str
    err: str


def obtain(progress: Callable[[str], None] = lambda _: None) -> Path:
    """:raises ToolError: if there is no Helm, and none can be built."""
    named, cache = os.environ.get("HELM_BIN"), go_program.default_cache()
    found = go_program.find(PROGRAM, binary=Path(named) if named else None, cache=cache)
    if found is not None and _is_helm_4(found):
        return found
    if go_program.is_program(built := cache / PROGRAM.built):
        return built
    go = shutil.which("go")
    if go is None:
        raise errors.ToolError("there is no Helm 4, and no Go to build one", fix=FIX)
    cache.mkdir(parents=True, exist_ok=True)
    return asyncio.run(go_program.build(PROGRAM, go, cache, progress))


def run(binary: Path, *arguments: str) -> Rendered:
    """Run Helm away from any cluster and from the user's own configuration."""
    with tempfile.TemporaryDirectory() as home:
        own = {"PATH": os.environ["PATH"], "HOME": home, "KUBECONFIG": os.devnull}
        done = subprocess.run(
            [str(binary), *arguments], capture_output=True, text=True, env=own, check=False
        )
    return Rendered(done.returncode == 0, done.stdout, done.stderr)


def template(
    binary: Path,
    *arguments: str,
    release: str = "voices",
    namespace: str = "talk",
    chart: Path = CHART,
) -> Rendered:
    """`helm template`, of this chart, as one release."""
    return run(binary, "template", release, str(chart), "--namespace", namespace, *arguments)


def _is_helm_4(binary: Path) -> bool:
    """Helm 3 renders the same objects in another order."""
    return "v4." in run(binary, "version", "--short").out

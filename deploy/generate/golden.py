"""tests/deploy/golden: what each example of the chart renders to, so that a change is seen."""

import re
from pathlib import Path

from deploy.generate import helm

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "deploy" / "helm" / "examples"
GOLDEN = ROOT / "tests" / "deploy" / "golden"

# The newest Kubernetes whose schemas the tests have.
KUBERNETES = "1.37.0"

# Its thousands of lines are those of ops/dashboards, and tests/deploy/test_monitoring.py has seen
# one arrive whole.
DASHBOARD = re.compile(r"^(data:\n  (\w+\.json): \|\n)(?: {4}.*\n|\n)+", re.M)


def files(binary: Path) -> dict[str, str]:
    """File name to content, one for each example.

    :raises RuntimeError: with Helm's words, if one does not render.
    """
    return {path.name: render(binary, path) for path in sorted(EXAMPLES.glob("*.yaml"))}


def render(binary: Path, example: Path) -> str:
    rendered = helm.template(
        binary, "--values", str(example), "--kube-version", KUBERNETES, "--api-versions", "v1"
    )
    if not rendered.is_ok:
        raise RuntimeError(f"{example.name}: {rendered.err}")
    return DASHBOARD.sub(r"\1    (files/dashboards/\2)\n", rendered.out.replace(f"{ROOT}/", ""))

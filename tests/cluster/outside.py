"""What the tests need of a cluster that Kubernetes has no word for: a shell line each, from the
environment, so that any cluster will do.
"""

import os
import subprocess
from typing import NoReturn

import pytest

METRICS = "CLUSTER_METRICS"
"""Runs prometheus-adapter for the Prometheus at $PROMETHEUS with its own configuration $RULES."""
KILL_NODE = "CLUSTER_KILL_NODE"
"""Cuts the power of the node $NODE."""
START_NODE = "CLUSTER_START_NODE"
"""Brings it back."""
OTHER_ADDRESS = "CLUSTER_OTHER_ADDRESS"
"""Another address of this machine that pods reach."""


def named(variable: str) -> str:
    """What the environment says, or a skipped test; CI has to have it."""
    return os.environ.get(variable) or missing(f"{variable} is not set")


def do(variable: str, **given: str) -> None:
    """Run the shell line that the variable holds."""
    line = named(variable)
    done = subprocess.run(
        ["sh", "-c", line], env={**os.environ, **given}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def missing(what: str) -> NoReturn:
    """Skips on a laptop and fails in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}; see tests/cluster/README.md")
    pytest.skip(f"{what}; see tests/cluster/README.md")
